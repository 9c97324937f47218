import { setImmediate } from 'node:timers/promises';

import { ChunkClaims, ChunkOutrunError, type ChunkPlace } from './chunk-claims.js';

const never = new AbortController().signal;

describe('ChunkClaims', () => {
  let claims: ChunkClaims;

  beforeEach(() => {
    claims = new ChunkClaims();
  });

  async function isSettled(work: Promise<unknown>): Promise<boolean> {
    let settled = false;
    const settle = (): void => void (settled = true);
    work.then(settle, settle);
    await setImmediate();
    return settled;
  }

  const writeOf = (place: ChunkPlace) => place.writing(() => Promise.resolve('written'));

  it('lets one that is alone know that it was', async () => {
    const place = claims.join(0);
    expect(await writeOf(place)).toBe('written');
    claims.join(1);
    expect(await place.takeAlone()).toBe(false);
  });

  it('outruns the others, and waits for the write that one of them is in the middle of', async () => {
    const [first, second] = [claims.join(0), claims.join(0)];
    const disk = Promise.withResolvers<undefined>();
    const writing = second.writing(() => disk.promise);
    const taken = first.takeAlone();
    expect(second.outrun.reason).toBeInstanceOf(ChunkOutrunError);
    await expect(writeOf(second)).rejects.toThrow(ChunkOutrunError);
    await expect(second.takeAlone()).rejects.toThrow(ChunkOutrunError);
    expect(await isSettled(taken)).toBe(false);
    disk.resolve(undefined);
    await writing;
    expect(await taken).toBe(true);
    expect(await writeOf(first)).toBe('written');
  });

  it('does not mind a write of another that fails', async () => {
    const [first, second] = [claims.join(0), claims.join(0)];
    const failing = second.writing(() => Promise.reject(new Error('the disk is full')));
    const taken = first.takeAlone();
    await expect(failing).rejects.toThrow('the disk is full');
    expect(await taken).toBe(true);
  });

  it('remembers others that have left', async () => {
    const first = claims.join(0);
    claims.join(0).leave();
    expect(await first.takeAlone()).toBe(true);
    first.leave();
    expect(await claims.join(0).takeAlone()).toBe(false);
  });

  it('lets nobody in while one has it alone', async () => {
    const first = claims.join(0);
    await first.takeAlone();
    const late = claims.join(0);
    await expect(writeOf(late)).rejects.toThrow(ChunkOutrunError);
    late.leave();
    first.leave();
    expect(await writeOf(claims.join(0))).toBe('written');
  });

  it('lets a stream wait for those at the chunk, not for those who were outrun', async () => {
    const [first, silent] = [claims.join(0), claims.join(0)];
    const claiming = claims.claim(0, never);
    await first.takeAlone();
    expect(await isSettled(claiming)).toBe(false);
    first.leave();
    expect(await writeOf(await claiming)).toBe('written');
    silent.leave();
  });

  it('lets whoever waits stop waiting', async () => {
    claims.join(0);
    const controller = new AbortController();
    const claiming = claims.claim(0, controller.signal);
    controller.abort(new Error('enough'));
    await expect(claiming).rejects.toThrow('enough');
  });
});
