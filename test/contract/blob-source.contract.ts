import { buffer } from 'node:stream/consumers';

import { isAbort } from '../../src/common/abort.js';
import { digestOf } from '../../src/domain/digest.js';
import { AppError } from '../../src/domain/errors.js';
import { MEDIA_TYPES } from '../../src/domain/manifest.js';
import type { BlobSource, OpenedRange, WantedBlob } from '../../src/transfer/blob-source.js';

/** A source under test that has one blob: `BLOB_BYTES` bytes. */
export interface BlobSourceSubject {
  readonly source: BlobSource;
  /** From now on it cannot give the whole blob: it refuses, or breaks off on the way. */
  breakOff(): Promise<void>;
  dispose(): Promise<void>;
}

/** More than any stream holds in its buffers, so that a reader who leaves leaves in the middle. */
export const BLOB_BYTES = 2 * 1024 * 1024;

/** What whoever reads from a source relies on, for every adapter. */
export function describeBlobSource(bytes: Buffer, start: () => Promise<BlobSourceSubject>): void {
  const blob = wanted(bytes);
  const { signal: never } = new AbortController();
  let subject: BlobSourceSubject;

  /** The one place that knows how a part of a blob is asked for. */
  const open = (first: number, signal = never, of = blob): Promise<OpenedRange> =>
    subject.source.open(of, { start: first, end: of.size }, signal);
  const read = async (first: number, signal = never): Promise<Buffer> =>
    buffer((await open(first, signal)).stream);

  beforeEach(async () => {
    subject = await start();
  });
  afterEach(() => subject.dispose());

  it('can be asked for a blob that it has', async () => {
    expect(await subject.source.has(blob, never)).toBe(true);
    expect(subject.source.name).not.toBe('');
  });

  it.each([0, 1, BLOB_BYTES / 2, BLOB_BYTES - 1])('sends a blob from byte %d on', async (first) => {
    const opened = await open(first);
    expect(opened.start).toBeLessThanOrEqual(first);
    expect((await buffer(opened.stream)).equals(bytes.subarray(opened.start))).toBe(true);
  });

  it('sends several readers what each asked for', async () => {
    const parts = await Promise.all([0, BLOB_BYTES / 2, 0].map((first) => read(first)));
    expect(parts.map((part) => bytes.subarray(BLOB_BYTES - part.length).equals(part))).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('refuses a blob that it has not, with an error of ours', async () => {
    await expect(open(0, never, wanted(Buffer.from('nobody has this')))).rejects.toBeInstanceOf(AppError);
  });

  it('never ends a blob that it cannot give whole, and says why', async () => {
    await subject.breakOff();
    for (const first of [0, 1]) await expect(read(first)).rejects.toBeInstanceOf(AppError);
  });

  it('does not begin when the signal has aborted', async () => {
    const reason = new Error('too late');
    await expect(open(0, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it('stops in the middle when the signal aborts', async () => {
    const controller = new AbortController();
    const { stream } = await open(0, controller.signal);
    let received = 0;
    const reading = (async () => {
      for await (const piece of stream as AsyncIterable<Buffer>) {
        received += piece.length;
        controller.abort(new Error('enough'));
      }
    })();
    const error: unknown = await reading.catch((cause: unknown) => cause);
    expect(isAbort(error, controller.signal)).toBe(true);
    expect(received).toBeLessThan(BLOB_BYTES);
  });

  it('lets a reader leave in the middle, and serves the next', async () => {
    const { stream } = await open(0);
    for await (const piece of stream as AsyncIterable<Buffer>) if (piece.length > 0) break;
    expect(stream.destroyed).toBe(true);
    expect((await read(0)).equals(bytes)).toBe(true);
  });
}

function wanted(bytes: Buffer): WantedBlob {
  return { digest: digestOf(bytes), size: bytes.length, mediaType: MEDIA_TYPES.ociLayer };
}
