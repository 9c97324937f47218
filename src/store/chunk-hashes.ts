import { createHash } from 'node:crypto';
import { type FileHandle, rename, rm, writeFile } from 'node:fs/promises';

import { z } from 'zod';

import { TEMPORARY_SUFFIX } from '../common/atomic-file.js';
import { readSmallFile } from '../common/small-file.js';
import { chunkCountOf, chunkRange } from '../domain/chunk-map.js';
import { parseShallowJson } from '../domain/shallow-json.js';

/** SHA-256 of each chunk of a blob in lower-case hex; undefined where the chunk is not there. */
export type ChunkHashes = (string | undefined)[];

/** `partial/<hex>.json` and `chunks/<hex>.json`; null stands for a chunk that is not there. */
const document = z.object({
  v: z.literal(1),
  size: z.number().int().nonnegative(),
  chunks: z.array(
    z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .nullable(),
  ),
});

/** The hashes recorded for a blob of `size` bytes; undefined when the file is missing, damaged or of another size. */
export async function readChunkHashes(path: string, size?: number): Promise<ChunkHashes | undefined> {
  let text: string;
  try {
    text = (await readSmallFile(path)).toString();
  } catch {
    return undefined;
  }
  return parseChunkHashes(text, size);
}

export function parseChunkHashes(text: string, size?: number): ChunkHashes | undefined {
  let json: unknown;
  try {
    json = parseShallowJson(text);
  } catch {
    return undefined;
  }
  const { success, data } = document.safeParse(json);
  if (!success || data.chunks.length !== chunkCountOf(data.size)) return undefined;
  if (size !== undefined && data.size !== size) return undefined;
  return data.chunks.map((hash) => hash ?? undefined);
}

export function formatChunkHashes(size: number, hashes: ChunkHashes): string {
  return JSON.stringify({ v: 1, size, chunks: Array.from(hashes, (hash) => hash ?? null) });
}

/**
 * Replaces the file as a whole, but without `fsync`: it is a hint, since every chunk it names is hashed again before
 * it is trusted, and an `fsync` per record would flush the blob's own data to disk over and over (ext4 `data=ordered`).
 */
export async function writeChunkHashes(path: string, size: number, hashes: ChunkHashes): Promise<void> {
  const temporary = `${path}${TEMPORARY_SUFFIX}`;
  try {
    await writeFile(temporary, formatChunkHashes(size, hashes), { mode: 0o600 });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Hashes every chunk of a complete file of `size` bytes. */
export async function hashChunks(handle: FileHandle, size: number, buffer: Buffer): Promise<ChunkHashes> {
  const hashes: ChunkHashes = [];
  for (let index = 0; index < chunkCountOf(size); index += 1) {
    const { start, length } = chunkRange(size, index);
    const hash = createHash('sha256');
    await readRange(handle, start, start + length, buffer, (piece) => hash.update(piece));
    hashes.push(hash.digest('hex'));
  }
  return hashes;
}

/** Hands `[start, end)` to `use` in pieces of `buffer`, which is overwritten by the next; fewer when the file ends early. */
export async function readRange(
  handle: FileHandle,
  start: number,
  end: number,
  buffer: Buffer,
  use: (piece: Uint8Array) => void,
): Promise<void> {
  for (let position = start; position < end;) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - position), position);
    if (bytesRead === 0) return;
    use(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}
