import { SharedCalls } from './shared-calls.js';

describe('SharedCalls', () => {
  const { signal } = new AbortController();
  let calls: SharedCalls<string>;
  let started: { signal: AbortSignal; resolve: (text: string) => void; reject: (error: Error) => void }[];
  const work = (shared: AbortSignal): Promise<string> =>
    new Promise((resolve, reject) => started.push({ signal: shared, resolve, reject }));

  beforeEach(() => {
    calls = new SharedCalls();
    started = [];
  });

  it('does the work once for all who wait, and again for who comes later', async () => {
    const both = Promise.all([calls.run('a', work, signal), calls.run('a', work, signal)]);
    expect(started).toHaveLength(1);
    started[0]?.resolve('x');
    expect(await both).toEqual(['x', 'x']);
    const later = calls.run('a', work, signal);
    started[1]?.resolve('y');
    expect(await later).toBe('y');
  });

  it('keeps what differs apart', async () => {
    const both = Promise.all([calls.run('a', work, signal), calls.run('b', work, signal)]);
    started.forEach(({ resolve }, index) => resolve(String(index)));
    expect(await both).toEqual(['0', '1']);
  });

  it('lets one leave without stopping the other', async () => {
    const controller = new AbortController();
    const leaves = calls.run('a', work, controller.signal);
    const stays = calls.run('a', work, signal);
    controller.abort(new Error('enough'));
    await expect(leaves).rejects.toThrow('enough');
    expect(started[0]?.signal.aborted).toBe(false);
    started[0]?.resolve('x');
    expect(await stays).toBe('x');
  });

  it('stops the work when the last has left; the next begins anew', async () => {
    const controller = new AbortController();
    const leaves = calls.run('a', work, controller.signal);
    controller.abort(new Error('enough'));
    await expect(leaves).rejects.toThrow('enough');
    expect(started[0]?.signal.aborted).toBe(true);
    started[0]?.reject(new Error('late'));
    const next = calls.run('a', work, signal);
    started[1]?.resolve('x');
    expect(await next).toBe('x');
  });

  it('fails for all who wait', async () => {
    const both = Promise.allSettled([calls.run('a', work, signal), calls.run('a', work, signal)]);
    started[0]?.reject(new Error('broken'));
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });
});
