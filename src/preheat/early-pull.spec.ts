import { type Digest, digestOf } from '../domain/digest.js';
import type { AwaitBlob, MirrorServer } from '../mirror/mirror.server.js';
import { Arrivals } from './arrivals.js';
import { EarlyPull } from './early-pull.js';

const ROOT = digestOf(Buffer.from('a manifest'));
const LOWER = digestOf(Buffer.from('a lower layer'));
const UPPER = digestOf(Buffer.from('an upper layer'));
const NAME = `127.0.0.1:5051/preheat/nonce@${ROOT}`;
const { signal } = new AbortController();
const nothing = (): void => undefined;

describe('EarlyPull', () => {
  let arrivals: Arrivals;
  let awaitBlob: AwaitBlob;
  let pulling: PromiseWithResolvers<undefined>;
  let pullSignal: AbortSignal;
  let progress: (() => void) | undefined;
  /** What has been ended, in order. */
  let ended: string[];

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    arrivals = new Arrivals([LOWER, UPPER]);
    pulling = Promise.withResolvers();
    ended = [];
  });
  afterEach(() => jest.useRealTimers());

  function begin(): EarlyPull {
    const mirror: Pick<MirrorServer, 'open'> = {
      open: (_root, wait) => {
        if (wait) awaitBlob = wait;
        return {
          name: NAME,
          missing: new Set<Digest>(),
          wasAsked: true,
          close: () => void ended.push('name'),
        };
      },
    };
    const runtime = {
      pull: async (_name: string, aborted: AbortSignal, onProgress?: () => void): Promise<void> => {
        pullSignal = aborted;
        progress = onProgress;
        aborted.addEventListener('abort', () => pulling.reject(aborted.reason));
        await pulling.promise.finally(() => ended.push('pull'));
      },
    };
    return new EarlyPull(ROOT, arrivals, runtime, mirror);
  }

  it('lets the runtime wait for each blob until that one is in the store', async () => {
    const pull = begin();
    const seen: Digest[] = [];
    const asked = [LOWER, UPPER].map((digest) => awaitBlob(digest, signal).then(() => seen.push(digest)));
    arrivals.arrived(UPPER);
    await asked[1];
    expect(seen).toEqual([UPPER]);
    arrivals.arrived(LOWER);
    await Promise.all(asked);
    await awaitBlob(digestOf(Buffer.from('one that was there before')), signal);
    pulling.resolve(undefined);
    expect(await pull.finish(signal, nothing)).toBe(NAME);
    expect(ended).toEqual(['pull']);
    await pull.end();
    expect(ended).toEqual(['pull', 'name']);
  });

  it('has no image where the runtime fails', async () => {
    const pull = begin();
    pulling.reject(new Error('no space'));
    expect(await pull.finish(signal, nothing)).toBeUndefined();
    await pull.end();
  });

  it('breaks off the pull, and all that waits for blobs, before it takes the name back', async () => {
    const pull = begin();
    const waiting = expect(awaitBlob(LOWER, signal)).rejects.toThrow('of no use');
    await pull.end();
    await waiting;
    expect(ended).toEqual(['pull', 'name']);
  });

  it('gives up when nothing arrives for 5 s, and not while something does', async () => {
    const pull = begin();
    for (let second = 0; second < 20; second += 4) {
      await jest.advanceTimersByTimeAsync(4000);
      pull.touch();
    }
    expect(pullSignal.aborted).toBe(false);
    await jest.advanceTimersByTimeAsync(5000);
    expect(pullSignal.aborted).toBe(true);
    await expect(awaitBlob(LOWER, signal)).rejects.toThrow('nothing arrives');
    expect(await pull.finish(signal, nothing)).toBeUndefined();
    await pull.end();
  });

  it('leaves the runtime its time once everything is there', async () => {
    const pull = begin();
    for (const digest of [LOWER, UPPER]) arrivals.arrived(digest);
    pull.touch();
    await jest.advanceTimersByTimeAsync(600_000);
    expect(pullSignal.aborted).toBe(false);
    let signs = 0;
    const finished = pull.finish(signal, () => (signs += 1));
    progress?.();
    pulling.resolve(undefined);
    expect([await finished, signs]).toEqual([NAME, 1]);
    await pull.end();
  });

  it('does not hold up who stops waiting for it', async () => {
    const pull = begin();
    const impatient = new AbortController();
    const finished = expect(pull.finish(impatient.signal, nothing)).rejects.toThrow('enough');
    impatient.abort(new Error('enough'));
    await finished;
    await pull.end();
  });
});
