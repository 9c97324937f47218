import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

import { hexOf } from '../../domain/digest.js';
import type { BlobSource, ByteRange, OpenedRange, WantedBlob } from '../blob-source.js';
import type { ArchiveContent } from './archive-content.js';
import { archiveInvalid } from './archive-reader.js';

/** What the source needs of the index. */
export interface ArchiveContents {
  contents(signal: AbortSignal): Promise<readonly ArchiveContent[]>;
  passOver(content: ArchiveContent, error: unknown): void;
}

/** All archives of `MOUNT_DIR` as one place that blobs come from. */
export class ArchiveSource implements BlobSource {
  readonly kind = 'archive';

  constructor(
    /** The directory. */
    readonly name: string,
    private readonly archives: ArchiveContents,
  ) {}

  async has(blob: WantedBlob, signal: AbortSignal): Promise<boolean> {
    return (await this.holderOf(blob, signal)) !== undefined;
  }

  async open(blob: WantedBlob, { start, end }: ByteRange, signal: AbortSignal): Promise<OpenedRange> {
    const holder = await this.holderOf(blob, signal);
    const found = await holder?.blob(blob.digest);
    if (!holder || !found)
      throw archiveInvalid(`no archive has ${blob.digest} with at most ${blob.size} bytes`);
    const stream = await found.open(start, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      this.archives.passOver(holder, error);
      throw error;
    });
    const last = Math.min(end, found.size);
    const pieces =
      last < found.size ? firstBytes(stream, last - start) : this.check(holder, blob, start, stream, signal);
    const checked = Readable.from(pieces, { objectMode: false });
    return { start, end: last, stream: checked.once('close', () => stream.destroy()) };
  }

  /**
   * Of a manifest often only the digest is known, and how long it may be: a larger blob is another one, a shorter one is
   * judged by its digest.
   */
  private async holderOf(blob: WantedBlob, signal: AbortSignal): Promise<ArchiveContent | undefined> {
    for (const content of await this.archives.contents(signal)) {
      const found = await content.blob(blob.digest);
      if (found && found.size <= blob.size) return content;
    }
    return undefined;
  }

  /** The store checks every byte too, but does not know which archive to blame: read from its start, a blob is hashed here. */
  private async *check(
    holder: ArchiveContent,
    { digest }: WantedBlob,
    start: number,
    stream: Readable,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void, undefined> {
    const hash = start === 0 ? createHash('sha256') : undefined;
    try {
      for await (const piece of stream as AsyncIterable<Buffer>) {
        hash?.update(piece);
        yield piece;
      }
      if (hash && hash.digest('hex') !== hexOf(digest))
        throw archiveInvalid(`its ${digest} is something else`);
    } catch (error) {
      if (!signal.aborted) this.archives.passOver(holder, error);
      throw error;
    }
  }
}

async function* firstBytes(
  stream: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<Buffer, void, undefined> {
  let left = count;
  for await (const piece of stream) {
    yield piece.subarray(0, left);
    left -= piece.length;
    if (left <= 0) return;
  }
}
