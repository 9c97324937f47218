import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Digest, digestOf } from '../domain/digest.js';
import { type ChunkHashes, writeChunkHashes } from './chunk-hashes.js';
import { CompleteHashes } from './complete-hashes.js';

const CHUNK_BYTES = 1024 * 1024;

describe('CompleteHashes', () => {
  let directory: string;
  let hashes: CompleteHashes;
  const path = (digest: Digest): string => join(directory, digest.replace(':', '-'));
  const digest = digestOf(Buffer.from('a blob'));

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hashes-'));
    hashes = new CompleteHashes({ chunkHashes: path }, 5);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const record = (of: Digest, recorded: ChunkHashes): Promise<void> =>
    writeChunkHashes(path(of), recorded.length * CHUNK_BYTES, recorded);
  const hash = (digit: string): string => digit.repeat(64);

  it('are read once, until the blob is begun anew', async () => {
    await record(digest, [hash('a'), hash('b')]);
    expect(await hashes.of(digest, 2 * CHUNK_BYTES)).toEqual([hash('a'), hash('b')]);
    await record(digest, [hash('c'), hash('d')]);
    expect(await hashes.of(digest, 2 * CHUNK_BYTES)).toEqual([hash('a'), hash('b')]);
    hashes.forget(digest);
    expect(await hashes.of(digest, 2 * CHUNK_BYTES)).toEqual([hash('c'), hash('d')]);
  });

  it('are none where one is missing, and looked for again', async () => {
    await record(digest, [hash('a'), undefined]);
    expect(await hashes.of(digest, 2 * CHUNK_BYTES)).toBeUndefined();
    await record(digest, [hash('a'), hash('b')]);
    expect(await hashes.of(digest, 2 * CHUNK_BYTES)).toHaveLength(2);
  });

  it('are kept of so many chunks in all, the blob asked for least lately going first', async () => {
    const count = 2;
    const blobs = ['one', 'two', 'three'].map((name) => digestOf(Buffer.from(name)));
    const [one, two, three] = blobs as [Digest, Digest, Digest];
    const size = count * CHUNK_BYTES;
    const all = (digit: string): string[] => Array.from({ length: count }, () => hash(digit));
    for (const blob of blobs) await record(blob, all('a'));
    for (const blob of [one, two, one, three]) await hashes.of(blob, size);
    for (const blob of blobs) await record(blob, all('b'));
    expect((await hashes.of(one, size))?.[0]).toBe(hash('a'));
    expect((await hashes.of(two, size))?.[0]).toBe(hash('b'));
  });
});
