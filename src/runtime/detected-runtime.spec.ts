import { PreheatFailure } from '../domain/errors.js';
import { DetectedRuntime, type RuntimeCandidate } from './detected-runtime.js';
import type { RuntimeSnapshot } from './image-runtime.js';

const { signal } = new AbortController();

/** A runtime that can be up or down; `list` tells which one it is. */
function candidate(kind: string) {
  const state = { up: false };
  const ping = () =>
    state.up
      ? Promise.resolve()
      : Promise.reject(new PreheatFailure('runtime_unreachable', `${kind} is not there`));
  const snapshot: RuntimeSnapshot = { identifiesBy: 'config', images: new Map(), rootDirectory: kind };
  const runtime = { list: () => ping().then(() => snapshot) } as unknown as RuntimeCandidate['runtime'];
  return {
    state,
    entry: { kind, address: `unix:///${kind}.sock`, runtime, ping } satisfies RuntimeCandidate,
  };
}

describe('DetectedRuntime', () => {
  it('names all it tried, and looks again at the next call', async () => {
    const [docker, other] = [candidate('docker'), candidate('other')];
    const runtime = new DetectedRuntime([docker.entry, other.entry]);
    await expect(runtime.list(signal)).rejects.toMatchObject({
      reason: 'runtime_unreachable',
      message: expect.stringMatching(
        /docker at unix:\/\/\/docker\.sock.*other at unix:\/\/\/other\.sock/,
      ) as string,
    });
    docker.state.up = true;
    expect((await runtime.list(signal)).rootDirectory).toBe('docker');
  });

  it('takes the first that answers and stays with it', async () => {
    const [docker, other] = [candidate('docker'), candidate('other')];
    const runtime = new DetectedRuntime([docker.entry, other.entry]);
    other.state.up = true;
    expect((await runtime.list(signal)).rootDirectory).toBe('other');
    docker.state.up = true;
    other.state.up = false;
    await expect(runtime.list(signal)).rejects.toThrow('other is not there');
  });
});
