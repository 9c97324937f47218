import { Readable } from 'node:stream';

import { encodeTarHeader, TAR_BLOCK_BYTES, tarPaddingOf } from './tar-header.js';
import type { Digest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { ImageTarFile } from './image-tar-plan.js';

/** Two blocks of zeros end a tar. */
const END_OF_TAR = Buffer.alloc(2 * TAR_BLOCK_BYTES);

/** Opens blobs for reading: the part of the blob store that a tar is streamed from. */
export interface BlobOpener {
  openBlob(digest: Digest): Promise<OpenBlob | undefined>;
}

export interface OpenBlob {
  /** Bytes. */
  readonly size: number;
  stream(start: number, endExclusive: number, signal: AbortSignal): Readable;
  close(): Promise<void>;
}

/** Length of the tar that `imageTar` streams, in bytes: its `Content-Length`. */
export function imageTarSize(files: readonly ImageTarFile[]): number {
  return files.reduce(
    (sum, { sizeBytes }) => sum + TAR_BLOCK_BYTES + sizeBytes + tarPaddingOf(sizeBytes),
    END_OF_TAR.length,
  );
}

/**
 * The tar of a planned image, for `docker load` (classic and containerd store), `ctr images import` and `skopeo`.
 * Read as fast as it is consumed; one blob is open at a time. When a blob is gone or short, or the signal aborts, the
 * stream is destroyed, never ended.
 *
 * Layers go in as they are in the registry. Docker before 23 cannot read zstd: its `docker load` fails with
 * "Error processing tar file … invalid tar header" in its answer, and nothing is loaded (measured: 20.10.24).
 */
export function imageTar(files: readonly ImageTarFile[], store: BlobOpener, signal: AbortSignal): Readable {
  return Readable.from(pieces(files, store, signal), { objectMode: false });
}

async function* pieces(
  files: readonly ImageTarFile[],
  store: BlobOpener,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  for (const file of files) {
    signal.throwIfAborted();
    yield encodeTarHeader(file.path, file.sizeBytes);
    if ('bytes' in file) yield file.bytes;
    else yield* blobPieces(file.digest, file.sizeBytes, store, signal);
    const padding = tarPaddingOf(file.sizeBytes);
    if (padding > 0) yield END_OF_TAR.subarray(0, padding);
  }
  yield END_OF_TAR;
}

async function* blobPieces(
  digest: Digest,
  sizeBytes: number,
  store: BlobOpener,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const blob = await store.openBlob(digest);
  if (blob === undefined) throw new PreheatFailure('no_source', `the store has lost blob ${digest}`);
  try {
    let sent = 0;
    for await (const piece of blob.stream(0, sizeBytes, signal) as AsyncIterable<Buffer>) {
      sent += piece.length;
      yield piece;
    }
    if (sent !== sizeBytes || blob.size !== sizeBytes)
      throw new PreheatFailure(
        'corrupt',
        `blob ${digest} has ${blob.size} bytes, ${sizeBytes} were declared`,
      );
  } finally {
    await blob.close();
  }
}
