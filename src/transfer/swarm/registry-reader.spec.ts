import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { InstantClock } from '../../../test/support/instant-clock.js';
import { TemporaryStore } from '../../../test/support/temporary-store.js';
import { digestOf } from '../../domain/digest.js';
import type { BlobSource } from '../blob-source.js';
import type { Downlink } from '../downlink.js';
import { RegistryReader } from './registry-reader.js';
import { SwarmBlob } from './swarm-blob.js';

const MIB = 1024 * 1024;
const signal = new AbortController().signal;

describe('RegistryReader, at a registry without Range', () => {
  const bytes = randomBytes(3 * MIB);
  const wanted = { digest: digestOf(bytes), size: bytes.length, mediaType: '' };
  const failures: unknown[] = [];
  let files: TemporaryStore;
  let blob: SwarmBlob;
  /** What the registry sends, as the test says. */
  let stream: Readable;

  beforeEach(async () => {
    files = await TemporaryStore.open();
    blob = new SwarmBlob(wanted, await files.store.openPartial(wanted.digest, wanted.size), () => undefined);
    stream = new Readable({ read: () => undefined });
    failures.length = 0;
  });
  afterEach(() => files.dispose());

  /** Reads what peers do not offer. */
  function readerOf(isOffered: (index: number) => boolean): RegistryReader {
    const source: BlobSource = {
      kind: 'registry',
      name: 'registry.example',
      has: () => Promise.resolve(true),
      open: () => Promise.resolve({ start: 0, end: bytes.length, stream }),
    };
    const downlink = { take: () => Promise.resolve() } as unknown as Downlink;
    const clock = new InstantClock();
    return new RegistryReader(
      source,
      (_, index) => isOffered(index),
      { downlink, clock, relays: { sentOf: () => undefined, swarmOf: () => [] } },
      {
        onChunk: () => undefined,
        onFailure: (error) => failures.push(error),
        onChange: () => undefined,
      },
    );
  }

  it('keeps for its stream all that comes out of it, also what peers have', async () => {
    const reader = readerOf((index) => index === 0);
    reader.advance([blob], signal);
    while (!blob.isReserved(0)) await setImmediate();
    expect([0, 1, 2].map(blob.isReserved)).toEqual([true, true, true]);
    stream.push(bytes);
    stream.push(null);
    await reader.end();
    expect([0, 1, 2].map(blob.isReserved)).toEqual([false, false, false]);
    await blob.partial.commit();
    expect(failures).toEqual([]);
  });

  it('is content when others have brought the rest before its stream has come that far', async () => {
    const reader = readerOf(() => false);
    reader.advance([blob], signal);
    stream.push(bytes.subarray(0, MIB));
    while (!blob.mine.has(0)) await setImmediate();
    for (const index of [1, 2])
      await blob.partial.writeChunk(
        index,
        Readable.from([bytes.subarray(index * MIB, (index + 1) * MIB)]),
        undefined,
        signal,
      );
    await blob.partial.commit();
    stream.push(bytes.subarray(MIB));
    stream.push(null);
    await reader.end();
    expect(failures).toEqual([]);
  });
});
