import type { Clock } from '../../common/clock.js';
import type { ContainerdClient } from './containerd-client.js';
import type { GrpcCall } from './grpc-channel.js';
import { PullWatch } from './pull-watch.js';

/** What containerd answers at one look: downloads, and the sizes of layers being unpacked; undefined is no answer. */
type Look = { readonly downloads: string; readonly unpacked: string } | undefined;

/** Runs through `looks`, and tells how often it was called alive, and how long each pause was. */
async function watch(looks: readonly Look[], tookMs = 0): Promise<{ signs: number; pausesMs: number[] }> {
  const ended = new AbortController();
  const pausesMs: number[] = [];
  let at = 0;
  let nowMs = 0;
  let signs = 0;
  const current = (): NonNullable<Look> => {
    const look = looks[at];
    if (look === undefined) throw new Error('no answer');
    return look;
  };
  const answers: Readonly<Record<string, () => object>> = {
    ListStatuses: () => ({ statuses: [{ ref: 'layer', offset: current().downloads }] }),
    Usage: () => ({ size: current().unpacked, inodes: '1' }),
    List: () => ({ info: [{ name: 'extract-1' }] }),
  };
  const client = {
    ask: ({ method }: GrpcCall) => new Promise((resolve) => resolve(answers[method]!())),
    async *read({ method }: GrpcCall) {
      nowMs += tookMs;
      yield await Promise.resolve(answers[method]!());
    },
  } as unknown as ContainerdClient;
  const clock: Clock = {
    monotonicMs: () => nowMs,
    wallMs: () => 0,
    sleep: (durationMs) => {
      pausesMs.push(durationMs);
      at += 1;
      if (at === looks.length) ended.abort();
      return Promise.resolve();
    },
  };
  await new PullWatch(client, clock).run('overlayfs', () => (signs += 1), ended.signal);
  return { signs, pausesMs };
}

describe('PullWatch', () => {
  it.each([
    [
      'a download goes on',
      [
        { downloads: '1', unpacked: '0' },
        { downloads: '2', unpacked: '0' },
      ],
      2,
    ],
    [
      'a layer is unpacked',
      [
        { downloads: '2', unpacked: '1' },
        { downloads: '2', unpacked: '2' },
      ],
      2,
    ],
    [
      'nothing moves',
      [
        { downloads: '2', unpacked: '1' },
        { downloads: '2', unpacked: '1' },
      ],
      1,
    ],
    ['containerd does not answer', [{ downloads: '2', unpacked: '1' }, undefined, undefined], 1],
    [
      'it answers again as before',
      [{ downloads: '2', unpacked: '1' }, undefined, { downloads: '2', unpacked: '1' }],
      1,
    ],
  ] as const)('takes for a sign of life that something has changed: %s', async (_, looks, signs) => {
    expect((await watch(looks)).signs).toBe(signs);
  });

  it('looks once a second, and less often where measuring takes long', async () => {
    const looks = Array.from({ length: 2 }, () => ({ downloads: '1', unpacked: '1' }));
    expect((await watch(looks)).pausesMs).toEqual([1000, 1000]);
    expect((await watch(looks, 400)).pausesMs).toEqual([8000, 8000]);
  });
});
