import { setImmediate } from 'node:timers/promises';
import { Readable } from 'node:stream';

import { TINY_PLATFORM, tinyImage } from '../../test/support/tiny-image.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { Lease } from '../lock/lease.js';
import type { Peer } from '../peers/peer-identity.js';
import { Contributions } from './contributions.js';
import { ManifestCollector, type ManifestParts } from './manifest-collector.js';

const IMAGE = 'registry.test/app:v1';
const { signal } = new AbortController();

describe('ManifestCollector', () => {
  const { manifestBytes } = tinyImage();
  const root = digestOf(manifestBytes);
  const peers = ['slow', 'honest'].map((node): Peer => {
    const address = { host: '10.0.0.1', port: 80 };
    return { node, instance: node, platform: 'linux/amd64', protocol: 1, address };
  });

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('passes a peer over that sends a byte of a manifest now and then', async () => {
    const reported: string[] = [];
    const stored = new Map<Digest, Uint8Array>();
    const parts = {
      store: {
        readBytes: (digest: Digest) => Promise.resolve(stored.get(digest)),
        putBytes: (digest: Digest, bytes: Uint8Array) => Promise.resolve(stored.set(digest, bytes)),
      },
      archives: { has: () => Promise.resolve(false) },
      sweep: {
        availability: () => {
          const answers = peers.map((peer) => ({ peer, complete: true, size: manifestBytes.length }));
          return Promise.resolve(new Map([[root, answers]]));
        },
      },
      peers: {
        openBlob: ({ node }: Peer, _digest: Digest, _range: object, limited: AbortSignal) =>
          Promise.resolve({
            stream: node === 'slow' ? trickle(manifestBytes, limited) : Readable.from([manifestBytes]),
          }),
        report: ({ node }: Peer) => reported.push(node),
      },
    } as unknown as ManifestParts;
    const contributions = new Contributions();
    const reference = parseImageReference(IMAGE);
    const collector = new ManifestCollector(IMAGE, reference, TINY_PLATFORM, contributions, parts);
    const lease: Lease | undefined = undefined;
    const brought = collector.manifest(root, peers, lease, signal);
    for (let second = 0; second < 15; second += 1) {
      await jest.advanceTimersByTimeAsync(1_000);
      await setImmediate();
    }
    expect(Buffer.from(await brought).equals(manifestBytes)).toBe(true);
    expect(reported).toEqual(['slow']);
  });
});

/** A byte a second. */
function trickle(bytes: Buffer, limited: AbortSignal): Readable {
  const stream = new Readable({ read: () => undefined });
  let at = 0;
  const timer = setInterval(() => stream.push(bytes.subarray(at, ++at)), 1_000);
  limited.addEventListener('abort', () => {
    clearInterval(timer);
    stream.destroy(limited.reason as Error);
  });
  return stream;
}
