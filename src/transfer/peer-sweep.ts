import { Injectable, Logger } from '@nestjs/common';
import PQueue from 'p-queue';

import type { Digest } from '../domain/digest.js';
import { messageOf } from '../domain/errors.js';
import type { AskedBlob, BlobAvailability } from '../peers/availability.js';
import type { Peer } from '../peers/peer-identity.js';
import { PeerService } from '../peers/peer.service.js';
import type { RuntimeHolding } from '../peers/runtime-view.js';

/** Requests to peers under way at once while the whole cluster is asked. */
const SWEEP_CONCURRENCY = 32;
/** A peer answers from memory and a few small files; a frozen one must not hold up the others. */
export const AVAILABILITY_TIMEOUT_MS = 2500;
/** A peer asks its runtime, which may be busy. */
const RUNTIME_TIMEOUT_MS = 10_000;

/** What one peer said of one blob. */
export interface PeerAnswer extends BlobAvailability {
  readonly peer: Peer;
}
export type Availability = ReadonlyMap<Digest, readonly PeerAnswer[]>;

/** Asks many peers what they have. A peer that fails has said nothing, and is left alone for a while. */
@Injectable()
export class PeerSweep {
  private readonly logger = new Logger(PeerSweep.name);

  constructor(private readonly peers: PeerService) {}

  async availability(
    peers: readonly Peer[],
    image: string,
    blobs: readonly AskedBlob[],
    signal: AbortSignal,
  ): Promise<Availability> {
    const found = new Map<Digest, PeerAnswer[]>(blobs.map(({ digest }) => [digest, []]));
    await this.each(peers, AVAILABILITY_TIMEOUT_MS, signal, async (peer, limited) => {
      for (const [digest, answer] of await this.peers.availability(peer, { image, blobs }, limited)) {
        found.get(digest)?.push({ ...answer, peer });
      }
    });
    return found;
  }

  /** The peers whose container runtime has something under the image's name, and what that is. */
  async runtimes(
    peers: readonly Peer[],
    image: string,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<Peer, RuntimeHolding>> {
    const having = new Map<Peer, RuntimeHolding>();
    await this.each(peers, RUNTIME_TIMEOUT_MS, signal, async (peer, limited) => {
      const holding = await this.peers.inRuntime(peer, image, limited);
      if (holding) having.set(peer, holding);
    });
    return having;
  }

  private async each(
    peers: readonly Peer[],
    timeoutMs: number,
    signal: AbortSignal,
    ask: (peer: Peer, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const queue = new PQueue({ concurrency: SWEEP_CONCURRENCY });
    await queue.addAll(
      peers.map((peer) => async () => {
        try {
          await ask(peer, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
        } catch (error) {
          signal.throwIfAborted();
          this.peers.report(peer, error);
          this.logger.debug({ peer: peer.node, error: messageOf(error) }, 'a peer did not answer');
        }
      }),
    );
  }
}
