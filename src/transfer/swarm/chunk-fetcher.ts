import { Injectable } from '@nestjs/common';

import { anySignal, StallTimer } from '../../common/abort.js';
import { chunkRange } from '../../domain/chunk-map.js';
import { PeerError } from '../../peers/peer-error.js';
import type { Peer } from '../../peers/peer-identity.js';
import { PeerService } from '../../peers/peer.service.js';
import type { PartialBlob } from '../../store/partial-blob.js';
import { Downlink } from '../downlink.js';

const MIB = 1024 * 1024;
/** A peer that sends nothing for this long is given up for another. */
const STALL_MS = 4000;
/**
 * A chunk may take this long, milliseconds per MiB: six requests share this node's link, and on a slow one all of them
 * are slow, whoever sends.
 */
const SLOWEST_MS_PER_MIB = 24_000;

/** Brings one chunk from one peer. */
@Injectable()
export class ChunkFetcher {
  constructor(
    private readonly peers: PeerService,
    private readonly downlink: Downlink,
  ) {}

  /**
   * Resolves when the chunk is in `partial`, verified.
   * @param claimed the hash of the chunk that the peer has named
   * @throws PeerError; PreheatFailure `corrupt`, or what the disk said; ChunkOutrunError when another request
   *   was faster
   */
  async fetch(
    partial: PartialBlob,
    index: number,
    peer: Peer,
    claimed: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { start, length } = chunkRange(partial.size, index);
    const limitMs = Math.max(STALL_MS, (length / MIB) * SLOWEST_MS_PER_MIB);
    const late = (): Error => new PeerError('timeout', 'The peer took too long for a chunk.');
    const stall = new StallTimer(STALL_MS, late);
    const deadline = new StallTimer(limitMs, late);
    const alive = anySignal(signal, stall.signal, deadline.signal);
    try {
      const { stream } = await this.peers.openChunk(
        peer,
        partial.digest,
        { start, end: start + length },
        alive,
      );
      try {
        await partial.writeChunk(index, stream, claimed, alive, {
          onPiece: (bytes) => {
            stall.touch();
            return this.downlink.take(bytes, alive);
          },
        });
      } finally {
        stream.destroy();
      }
    } finally {
      stall.stop();
      deadline.stop();
    }
  }
}
