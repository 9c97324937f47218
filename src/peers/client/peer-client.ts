import { type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { Inject, Injectable } from '@nestjs/common';

import { parseContentLength, parseContentRange } from '../../common/content-range.js';
import { AppConfig, type HostPort } from '../../config/app-config.js';
import type { Digest } from '../../domain/digest.js';
import { PreheatMetrics } from '../../metrics/preheat-metrics.js';
import { PeerError } from '../peer-error.js';
import type { RuntimeHolding } from '../runtime-view.js';
import { runtimeLimits } from '../wire/answer-limits.js';
import { runtimeAnswerSchema, RUNTIME_PATH } from '../wire/runtime-wire.js';
import { MeasuredBody } from './measured-body.js';
import { type PeerAnswer, PeerCaller } from './peer-caller.js';
import { discard } from './peer-transport.js';
import { readJson } from './read-json.js';

/** A peer that has not begun to answer a small question by then is too slow to be of use. */
const ANSWER_TIMEOUT_MS = 10_000;
/** A stream that stands still for this long is given up; whoever wants it faster has a timer of his own. */
const STALL_TIMEOUT_MS = 30_000;
/** A disk that copies an image more slowly than this is too busy for it. */
const STAGING_BYTES_PER_SECOND = 20 * 1024 * 1024;

/** Bytes `[start, end)` of a blob of `size` bytes. The stream fails rather than end early or late. */
export interface PeerBlob {
  readonly start: number;
  readonly end: number;
  readonly size: number;
  readonly stream: Readable;
}

/** Bytes `[start, end)`, or all from `start` on. */
export interface PeerBlobRange {
  readonly start: number;
  readonly end?: number;
}

/** The calls that agents make to each other. All throw PeerError, and the signal's reason when it aborts. */
@Injectable()
export class PeerClient {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly caller: PeerCaller,
    private readonly metrics: PreheatMetrics,
  ) {}

  /**
   * Opens a range of a blob. A peer that knows no ranges sends the whole blob, and the answer says so.
   * Aborting the signal, or destroying the stream, closes the connection.
   */
  async openBlob(
    address: HostPort,
    digest: Digest,
    range: PeerBlobRange,
    signal: AbortSignal,
  ): Promise<PeerBlob> {
    const answer = await this.caller.call(
      address,
      {
        lane: 'data',
        method: 'GET',
        path: blobPath(digest),
        ...rangeHeader(range),
        headersTimeoutMs: ANSWER_TIMEOUT_MS,
        bodyTimeoutMs: STALL_TIMEOUT_MS,
      },
      [200, 206],
      signal,
    );
    const extent = extentOf(answer, range);
    if (extent) return { ...extent, stream: this.measure(answer, extent.end - extent.start, signal) };
    await discard(answer.body);
    throw new PeerError('http', 'The peer answered with another range than asked for.', {
      status: answer.status,
    });
  }

  /** Size of a blob that the peer has as a whole, by plain `HEAD`; undefined when it has not. */
  async headBlob(address: HostPort, digest: Digest, signal: AbortSignal): Promise<number | undefined> {
    const answer = await this.caller.call(
      address,
      {
        lane: 'control',
        method: 'HEAD',
        path: blobPath(digest),
        headersTimeoutMs: ANSWER_TIMEOUT_MS,
        bodyTimeoutMs: ANSWER_TIMEOUT_MS,
      },
      [200, 404],
      signal,
    );
    await discard(answer.body);
    return answer.status === 200 ? parseContentLength(headerOf(answer, 'content-length')) : undefined;
  }

  /** Those of `images` that the peer's runtime has, and what they are; none when it does not know the call. */
  async present(
    address: HostPort,
    images: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RuntimeHolding>> {
    const answer = await this.caller.call(
      address,
      {
        lane: 'control',
        method: 'POST',
        path: RUNTIME_PATH,
        body: JSON.stringify({ images }),
        headersTimeoutMs: ANSWER_TIMEOUT_MS,
        bodyTimeoutMs: ANSWER_TIMEOUT_MS,
      },
      [200, 404],
      signal,
    );
    if (answer.status === 404) {
      await discard(answer.body);
      return new Map();
    }
    return readJson(answer.body, runtimeAnswerSchema, runtimeLimits(images.length));
  }

  /**
   * An image as `docker save` writes it. The first byte may take minutes: the classic Docker store stages the whole
   * image before it sends any of it.
   * @param sizeBytes about what it has to stage
   */
  async openExport(
    address: HostPort,
    image: string,
    sizeBytes: number,
    signal: AbortSignal,
  ): Promise<Readable> {
    const answer = await this.caller.call(
      address,
      {
        lane: 'data',
        method: 'GET',
        path: `/images/download?image=${encodeURIComponent(image)}`,
        headersTimeoutMs: this.config.pullingTimeoutMs + (sizeBytes / STAGING_BYTES_PER_SECOND) * 1000,
        bodyTimeoutMs: this.config.pullingTimeoutMs,
      },
      [200],
      signal,
    );
    return this.measure(answer, undefined, signal);
  }

  private measure({ body }: PeerAnswer, expected: number | undefined, signal: AbortSignal): Readable {
    const onBytes = (count: number): void => this.metrics.peerReceivedBytes(count);
    const measured = new MeasuredBody({ expected, onBytes, signal });
    // Whatever fails, either end is destroyed with it, and the reader sees the error on his end.
    pipeline(body, measured, { signal }).catch(() => undefined);
    return measured;
  }
}

function blobPath(digest: Digest): string {
  return `/v2/preheat/blobs/${digest}`;
}

/** None for the whole blob. The last byte is named, not the one after it (RFC 9110, 14.1.2). */
function rangeHeader({ start, end }: PeerBlobRange): { range?: string } {
  if (start === 0 && end === undefined) return {};
  return { range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
}

/** What the answer's headers say of the bytes that follow; undefined when that is not what was asked for. */
function extentOf(answer: PeerAnswer, wanted: PeerBlobRange): Omit<PeerBlob, 'stream'> | undefined {
  const length = parseContentLength(headerOf(answer, 'content-length'));
  if (answer.status === 200)
    return length === undefined ? undefined : { start: 0, end: length, size: length };
  const range = parseContentRange(headerOf(answer, 'content-range') ?? '');
  if (range?.start !== wanted.start || range.end !== (wanted.end ?? range.size)) return undefined;
  return length === undefined || length === range.end - range.start ? range : undefined;
}

function headerOf({ headers }: PeerAnswer, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}
