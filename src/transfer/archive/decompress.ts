import { pipeline, Readable } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';

import { errnoOf } from '../../common/errno.js';
import { archiveInvalid, type Compression } from './archive-reader.js';
import { ZstdFrameCutter } from './zstd-frame-cutter.js';

/** Bytes that tell how a file is compressed. */
export const MAGIC_BYTES = 4;
const GZIP_MAGIC = Buffer.from([0x1f, 0x8b]);
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** zstd up to level 20 needs a window of 32 MiB; beyond, an archive could make us allocate gigabytes. */
const ZSTD_MAX_WINDOW_LOG = 25;
const CHUNK_BYTES = 256 * 1024;

/**
 * A decompression bomb is cut at this many bytes plus `MAX_EXPANSION` per byte of the file. Images come to 2–4;
 * layers of zeros reach more, so the factor is generous: the limit is there to end, not to judge.
 */
const FREE_EXPANSION_BYTES = 1024 ** 3;
const MAX_EXPANSION = 100;

/** Longest output that is accepted from `compressedBytes` of input. Bytes. */
export function expansionLimit(compressedBytes: number): number {
  return FREE_EXPANSION_BYTES + MAX_EXPANSION * compressedBytes;
}

export function compressionIn(firstBytes: Uint8Array): Compression | undefined {
  const bytes = Buffer.from(firstBytes.buffer, firstBytes.byteOffset, firstBytes.byteLength);
  if (bytes.subarray(0, GZIP_MAGIC.length).equals(GZIP_MAGIC)) return 'gzip';
  return bytes.subarray(0, ZSTD_MAGIC.length).equals(ZSTD_MAGIC) ? 'zstd' : undefined;
}

/** What `source` unpacks to; closing either closes both. */
export function decompress(source: Readable, compression: Compression): Readable {
  // The callback form: an error reaches whoever reads the decoder.
  if (compression === 'gzip')
    return pipeline(source, createGunzip({ chunkSize: CHUNK_BYTES }), () => undefined);
  const decoder = createZstdDecompress({
    chunkSize: CHUNK_BYTES,
    params: { [constants.ZSTD_d_windowLogMax]: ZSTD_MAX_WINDOW_LOG },
  });
  pipeline(source, new ZstdFrameCutter(), decoder, () => undefined);
  return decoder;
}

/**
 * The bytes `[start, start + length)` of a stream. Closing it closes the source.
 * The stream is destroyed with `archive_invalid` when the source ends before, or does not unpack.
 */
export function sliceOf(source: Readable, start: number, length: number): Readable {
  const stream = Readable.from(slice(source, start, length), { objectMode: false });
  // A generator that was never started does not run its end: closed unread, it would leave the source open.
  return stream.once('close', () => source.destroy());
}

async function* slice(
  source: Readable,
  start: number,
  length: number,
): AsyncGenerator<Buffer, void, undefined> {
  if (length === 0) return;
  let offset = 0;
  const end = start + length;
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      const piece = chunk.subarray(Math.max(0, start - offset), Math.max(0, end - offset));
      offset += chunk.length;
      if (piece.length > 0) yield piece;
      if (offset >= end) return;
    }
  } catch (error) {
    throw isZlibError(error) ? archiveInvalid('it does not unpack', error) : error;
  }
  throw archiveInvalid('it is cut short');
}

/** node:zlib's errors carry the codes of zlib (`Z_…`) and zstd (`ZSTD_error_…`). */
export function isZlibError(error: unknown): boolean {
  return /^(?:Z_|ZSTD_)/.test(errnoOf(error) ?? '');
}
