import { pipeline, Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { systemClock } from '../../src/common/clock.js';
import type { HostPort } from '../../src/config/app-config.js';
import { chunkAt, chunkCountOf, chunkRange, chunkSizeOf } from '../../src/domain/chunk-map.js';
import { type Digest, digestOf, hexOf } from '../../src/domain/digest.js';
import type { AvailabilityAnswer, AvailabilityQuestion } from '../../src/peers/availability.js';
import type { AvailabilityProvider } from '../../src/peers/availability-provider.js';
import { MeasuredBody } from '../../src/peers/client/measured-body.js';
import type { PeerBlob, PeerBlobRange } from '../../src/peers/client/peer-client.js';
import { formatAddress } from '../../src/peers/peer-address.js';
import { PeerError } from '../../src/peers/peer-error.js';
import type { PeerIdentity } from '../../src/peers/peer-identity.js';
import type { RuntimeHolding } from '../../src/peers/runtime-view.js';
import type { SwarmSource } from '../../src/peers/swarm/swarm-source.js';
import {
  availabilityAnswerSchema,
  decodeAvailability,
  encodeAvailability,
  encodeKnown,
} from '../../src/peers/wire/availability-wire.js';
import type { BlobStore } from '../../src/store/blob-store.js';
import { type AnswerFault, type Character, flipped, type SwarmFaults } from './swarm-faults.js';

/** How long a stall lasts before the connection breaks, milliseconds; a long one outlasts the patience of who reads chunks. */
const STALL_MS = { usual: 25, long: 7000 };

/** What one node shows to the others. */
export interface SwarmEndpoint {
  readonly identity: PeerIdentity;
  readonly character: Character;
  /** Aborts when the node is killed. */
  readonly life: AbortSignal;
  readonly store: BlobStore;
  readonly swarm: SwarmSource;
  readonly availability: AvailabilityProvider;
}

export interface SwarmNetworkOptions {
  readonly faults: SwarmFaults;
  /** The right bytes of every blob: what is sent is held against them. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  /** Stalls are left to the reader, who takes seconds to notice. */
  readonly longStalls: boolean;
}

/** Function calls between nodes of one process in place of HTTP, with everything that goes wrong on a network. */
export class SwarmNetwork {
  /** `from to`, by instance, of those who sent another node bytes that are wrong. */
  readonly wrongSenders = new Set<string>();
  /** `from to`, by instance, of those who named a chunk's hash that is not that of the right bytes. */
  readonly wrongClaimants = new Set<string>();
  private readonly endpoints = new Map<string, SwarmEndpoint>();

  private readonly hashes: ReadonlyMap<Digest, readonly string[]>;

  constructor(readonly options: SwarmNetworkOptions) {
    this.hashes = new Map([...options.blobs].map(([digest, bytes]) => [digest, chunkHashesOf(bytes)]));
  }

  attach(address: HostPort, endpoint: SwarmEndpoint): void {
    this.endpoints.set(formatAddress(address), endpoint);
  }

  /** @throws PeerError `network` when nobody is there */
  reach(address: HostPort): SwarmEndpoint {
    const endpoint = this.endpoints.get(formatAddress(address));
    if (!endpoint || endpoint.life.aborted) throw new PeerError('network', 'nobody is there');
    return endpoint;
  }

  isWrongClaim(digest: Digest, hashes: readonly string[] = []): boolean {
    const right = this.hashes.get(digest);
    return hashes.some((hash, index) => hash !== '' && hash !== right?.[index]);
  }
}

/**
 * One node's way to the others: stands in for `OutgoingSessions`, `AvailabilityClient` and `PeerClient` at once, and
 * answers as `DistributionResponder` does.
 */
export class SwarmLink {
  private readonly identities = new Map<string, PeerIdentity>();

  constructor(
    private readonly network: SwarmNetwork,
    private readonly self: PeerIdentity,
  ) {}

  async with(address: HostPort): Promise<{ identity: PeerIdentity }> {
    const { identity } = await this.call(address);
    return { identity };
  }

  identityAt(address: HostPort): PeerIdentity | undefined {
    return this.identities.get(formatAddress(address));
  }

  forget(address: HostPort): void {
    this.identities.delete(formatAddress(address));
  }

  /** Nobody moves to another address here. */
  retain(): void {
    return undefined;
  }

  /** No runtime has anything. */
  present(): Promise<ReadonlyMap<string, RuntimeHolding>> {
    return Promise.resolve(new Map());
  }

  async ask(
    address: HostPort,
    { blobs: asked, known }: AvailabilityQuestion,
    signal: AbortSignal,
  ): Promise<AvailabilityAnswer> {
    const digests = asked.map(({ digest }) => digest);
    const there = await this.call(address);
    const { faults } = this.network.options;
    const { node } = there.identity;
    const fault = faults.ofQuestion(node, this.self.node);
    if (fault) return this.fail(fault, signal);
    const { blobs, participants } = await there.availability.describe(digests, this.self);
    const told = digests.flatMap((digest) => {
      const answer = faults.told(node, there.character, digest, blobs.get(digest));
      return answer ? [[digest, answer] as const] : [];
    });
    signal.throwIfAborted();
    this.network.reach(address);
    if (told.some(([digest, { chunkHashes }]) => this.network.isWrongClaim(digest, chunkHashes)))
      this.network.wrongClaimants.add(`${there.identity.instance} ${this.self.instance}`);
    const answer = { ...there.identity, blobs: new Map(told), participants };
    const wire = JSON.stringify(encodeAvailability(answer, known && encodeKnown(known, digests)));
    return decodeAvailability(availabilityAnswerSchema.parse(JSON.parse(wire)), asked);
  }

  async openBlob(
    address: HostPort,
    digest: Digest,
    { start, end }: PeerBlobRange,
    signal: AbortSignal,
  ): Promise<PeerBlob> {
    const there = await this.call(address);
    const { identity, character, store, swarm } = there;
    const fault = this.network.options.faults.ofBytes(
      identity.node,
      character,
      this.self.node,
      `${digest} ${start}`,
    );
    if (fault === 'unreachable' || fault === 'refused' || fault === 'not_found')
      return this.fail(fault, signal);
    const reader = await (end === undefined ? store.openBlob(digest) : store.openRange(digest, start, end));
    if (!reader) return this.fail('not_found', signal);
    const stop = end ?? reader.size;
    const index = end === undefined ? undefined : chunkAt(reader.size, start, stop);
    const grant =
      index === undefined
        ? undefined
        : swarm.tryGrant({ digest, size: reader.size, index, caller: this.self });
    if (index !== undefined && !grant) {
      await reader.close();
      return this.fail('refused', signal);
    }
    const sent = reader.stream(start, stop, there.life);
    const pieces = this.broken(
      this.distorted(sent, there, digest, start),
      fault,
      { digest, bytes: stop - start },
      signal,
    );
    const body = new MeasuredBody({ expected: stop - start, onBytes: () => undefined, signal });
    pipeline(Readable.from(pieces, { objectMode: false }), body, (error) => {
      grant?.(!error);
      sent.destroy();
      reader.close().catch(() => undefined);
    });
    return { start, end: stop, size: reader.size, stream: body };
  }

  private async call(address: HostPort): Promise<SwarmEndpoint> {
    await setImmediate();
    const there = this.network.reach(address);
    this.identities.set(formatAddress(address), there.identity);
    return there;
  }

  private async fail(fault: AnswerFault, signal: AbortSignal): Promise<never> {
    switch (fault) {
      case 'refused':
        throw new PeerError('full', 'it serves as many as it can', { status: 429, retryAfterMs: 1000 });
      case 'not_found':
        throw new PeerError('http', 'it has not what it was asked for', { status: 404 });
      case 'stalled':
        await systemClock.sleep(STALL_MS.usual, signal);
        throw new PeerError('timeout', 'it does not answer');
      default:
        throw new PeerError('network', 'the connection broke');
    }
  }

  /** As the peer's own nature makes its bytes; held against what they should be. */
  private async *distorted(
    source: AsyncIterable<Buffer>,
    { identity, character }: SwarmEndpoint,
    digest: Digest,
    start: number,
  ): AsyncGenerator<Buffer> {
    const { faults, blobs } = this.network.options;
    const truth = blobs.get(digest);
    const wrong = new Map<number, number | undefined>();
    let position = start;
    for await (const piece of source) {
      for (let at = position; truth && at < position + piece.length; at = nextChunk(truth.length, at)) {
        const index = Math.floor(at / chunkSizeOf(truth.length));
        if (!wrong.has(index)) wrong.set(index, faults.wrongByteOf(identity.node, character, digest, index));
        const byte = wrong.get(index);
        if (byte === undefined) continue;
        const offset = chunkRange(truth.length, index).start + byte - position;
        if (offset < 0 || offset >= piece.length) continue;
        piece[offset] = flipped(piece[offset]);
        faults.note(character === 'liar' ? 'flipped_with_lie' : 'flipped');
      }
      if (truth && !piece.equals(truth.subarray(position, position + piece.length)))
        this.network.wrongSenders.add(`${identity.instance} ${this.self.instance}`);
      position += piece.length;
      yield piece;
    }
  }

  /** As the network lets them through. */
  private async *broken(
    source: AsyncIterable<Buffer>,
    fault: AnswerFault | undefined,
    { digest, bytes }: { digest: Digest; bytes: number },
    signal: AbortSignal,
  ): AsyncGenerator<Buffer> {
    const { faults, longStalls } = this.network.options;
    let left = fault === undefined || fault === 'too_long' ? Infinity : faults.breakAt(bytes, digest);
    for await (const piece of source) {
      if (left < piece.length) {
        if (left > 0) yield piece.subarray(0, left);
        if (fault === 'short') return;
        if (fault === 'stalled') await systemClock.sleep(longStalls ? STALL_MS.long : STALL_MS.usual, signal);
        throw new Error('the connection broke');
      }
      left -= piece.length;
      yield piece;
    }
    // Whoever reads on for as long as something comes never ends.
    while (fault === 'too_long') yield Buffer.alloc(64 * 1024);
  }
}

function nextChunk(size: number, at: number): number {
  return (Math.floor(at / chunkSizeOf(size)) + 1) * chunkSizeOf(size);
}

function chunkHashesOf(bytes: Buffer): string[] {
  return Array.from({ length: chunkCountOf(bytes.length) }, (_, index) => {
    const { start, length } = chunkRange(bytes.length, index);
    return hexOf(digestOf(bytes.subarray(start, start + length)));
  });
}
