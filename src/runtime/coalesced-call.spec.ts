import { CoalescedCall } from './coalesced-call.js';

function harness() {
  const runs: { resolve: (value: string) => void; reject: (error: Error) => void; signal: AbortSignal }[] =
    [];
  const call = new CoalescedCall<string>((signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    runs.push({ resolve, reject, signal });
    return promise;
  });
  return { call, runs };
}
const { signal } = new AbortController();

describe('CoalescedCall', () => {
  it('runs once for all who come meanwhile, and anew afterwards', async () => {
    const { call, runs } = harness();
    const both = Promise.all([call.run(signal), call.run(signal)]);
    expect(runs).toHaveLength(1);
    runs[0]!.resolve('a');
    expect(await both).toEqual(['a', 'a']);
    const next = call.run(signal);
    runs[1]!.resolve('b');
    expect(await next).toBe('b');
  });

  it('gives a failure to all, and keeps none', async () => {
    const { call, runs } = harness();
    const both = Promise.allSettled([call.run(signal), call.run(signal)]);
    runs[0]!.reject(new Error('x'));
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    void call.run(signal);
    expect(runs).toHaveLength(2);
  });

  it('lets one caller go without disturbing the others, and ends the run with the last', async () => {
    const { call, runs } = harness();
    const [first, second] = [new AbortController(), new AbortController()];
    const one = call.run(first.signal);
    const two = call.run(second.signal);
    first.abort(new Error('first'));
    await expect(one).rejects.toThrow('first');
    expect(runs[0]!.signal.aborted).toBe(false);
    second.abort(new Error('second'));
    await expect(two).rejects.toThrow('second');
    expect(runs[0]!.signal.aborted).toBe(true);
  });

  it('does not let a caller join a run from before a change', async () => {
    const { call, runs } = harness();
    const before = call.run(signal);
    call.separate();
    const after = call.run(signal);
    runs[0]!.resolve('old');
    runs[1]!.resolve('new');
    expect(await Promise.all([before, after])).toEqual(['old', 'new']);
  });
});
