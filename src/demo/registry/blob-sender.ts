import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';

import type { TokenBucket } from '../../common/token-bucket.js';
import type { Digest } from '../../domain/digest.js';
import { sendEmpty, sendError } from './answers.js';
import type { BlobStorage } from './blob-storage.js';
import { parseByteRange } from './byte-range.js';
import type { Fault } from './fault-plan.js';
import type { RegistryBehaviour } from './registry-behaviour.js';
import type { TrafficLedger } from './traffic-ledger.js';

/** Between two bytes of a trickle. */
const TRICKLE_MS = 1000;

export interface SendOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly fault: Fault | undefined;
  /** Whether the bytes are a blob's, and so to be counted. */
  readonly counts: boolean;
}

/** Sends stored bytes: by range, at the registry's bandwidth, with the fault that is planned. */
export class BlobSender {
  constructor(
    private readonly storage: BlobStorage,
    private readonly behaviour: RegistryBehaviour,
    private readonly ledger: TrafficLedger,
    /** Shared by everything the registry sends. */
    private readonly uplink: TokenBucket,
  ) {}

  async send(
    request: IncomingMessage,
    response: ServerResponse,
    digest: Digest,
    { headers, fault, counts }: SendOptions,
  ): Promise<void> {
    const size = await this.storage.sizeOf(digest);
    if (size === undefined) {
      sendError(response, 404, 'BLOB_UNKNOWN');
      return;
    }
    const range = this.behaviour.ranges && counts ? parseByteRange(request.headers.range, size) : undefined;
    if (range === 'unsatisfiable') {
      sendEmpty(response, 416, { 'content-range': `bytes */${size}` });
      return;
    }
    const { start, end } = range ?? { start: 0, end: size };
    const overrides = fault?.kind === 'headers' ? fault.headers : {};
    const answer: Record<string, string | undefined> = {
      ...headers,
      'content-length': String(end - start),
      ...(range ? { 'content-range': `bytes ${start}-${end - 1}/${size}` } : {}),
      ...overrides,
    };
    for (const [name, value] of Object.entries(answer)) {
      if (value !== undefined) response.setHeader(name, value);
    }
    response.writeHead(range ? 206 : 200);
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    const body = this.bytes(digest, { start, end }, fault, counts, response);
    await pipeline(body, response);
  }

  private async *bytes(
    digest: Digest,
    { start, end }: { start: number; end: number },
    fault: Fault | undefined,
    counts: boolean,
    response: ServerResponse,
  ): AsyncGenerator<Buffer> {
    const limit = fault && 'afterBytes' in fault ? fault.afterBytes : Infinity;
    let sent = 0;
    for await (const part of this.storage.read(digest, start, Math.min(end, start + limit))) {
      await this.uplink.take(part.length);
      yield fault?.kind === 'corrupt' && sent === 0 ? flipped(part) : part;
      sent += part.length;
      if (counts) this.ledger.sent(digest, part.length);
    }
    if (fault?.kind === 'trickle') {
      for await (const part of this.storage.read(digest, start + sent, end)) yield* trickled(part, response);
      return;
    }
    if (sent === end - start) return;
    // Ending the socket, rather than destroying it, lets what was written leave before the connection breaks.
    if (fault?.kind === 'cut') response.socket?.end();
    if (!response.closed) await once(response, 'close');
  }
}

/** Until the client has had enough of it. */
async function* trickled(part: Buffer, response: ServerResponse): AsyncGenerator<Buffer> {
  for (let at = 0; at < part.length && !response.closed; at += 1) {
    await delay(TRICKLE_MS);
    yield part.subarray(at, at + 1);
  }
}

function flipped(part: Buffer): Buffer {
  const copy = Buffer.from(part);
  copy[0] = (copy[0] ?? 0) ^ 0xff;
  return copy;
}
