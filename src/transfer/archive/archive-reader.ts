import type { Readable } from 'node:stream';

import { type Digest, hexOf } from '../../domain/digest.js';
import { messageOf, PreheatFailure } from '../../domain/errors.js';
import { MAX_MANIFEST_BYTES } from '../../domain/manifest.js';
import { parseShallowJson } from '../../domain/shallow-json.js';

/** How a layer file is packed; what is not there is a plain tar. */
export type Compression = 'gzip' | 'zstd';

/** The files inside one archive, whatever its form. Nothing that comes out of it is verified. */
export interface ArchiveReader {
  /** In bytes; undefined when there is no regular file under that path. */
  sizeOf(path: string): Promise<number | undefined>;

  /**
   * The file's bytes from `start` on, as they are in the archive.
   * @throws PreheatFailure `archive_invalid` when the path is not there or the archive has changed since it was indexed;
   * the stream is destroyed with it when the archive ends too early
   */
  open(path: string, start: number, signal: AbortSignal): Promise<Readable>;
}

export function archiveInvalid(why: string, cause?: unknown): PreheatFailure {
  return new PreheatFailure('archive_invalid', why, { cause });
}

/** Where an OCI layout keeps a blob. */
export function blobPath(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** A JSON document inside the archive. @throws PreheatFailure `archive_invalid` when it is absent or above 4 MiB */
export async function readDocument(
  reader: ArchiveReader,
  path: string,
  signal: AbortSignal,
): Promise<Buffer> {
  const size = await reader.sizeOf(path);
  if (size === undefined) throw archiveInvalid(`it has no ${path}`);
  if (size > MAX_MANIFEST_BYTES) throw archiveInvalid(`${path} has ${size} bytes; 4 MiB are accepted`);
  const parts: Buffer[] = [];
  for await (const part of (await reader.open(path, 0, signal)) as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/** The JSON value in a document of an archive. @throws PreheatFailure `archive_invalid` */
export function parseArchiveJson(bytes: Buffer, path: string): unknown {
  try {
    return parseShallowJson(bytes.toString('utf8'));
  } catch (cause) {
    throw archiveInvalid(`${path} cannot be read: ${messageOf(cause)}`, cause);
  }
}
