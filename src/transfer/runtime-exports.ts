import { Inject, Injectable, Logger } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import type { Digest } from '../domain/digest.js';
import { messageOf } from '../domain/errors.js';
import type { ImageManifest } from '../domain/manifest.js';
import type { Peer } from '../peers/peer-identity.js';
import { PeerService } from '../peers/peer.service.js';
import { ExportIngest } from './export/export-ingest.js';
import { totalBytes } from './image-plan.js';
import { PeerSweep } from './peer-sweep.js';
import type { TransferRequest } from './transfer-request.js';

/** Uncompressed layers may be this many times their compressed size, and a little more; an export beyond that is cut. */
const MAX_EXPANSION = 20;
const EXPORT_SLACK_BYTES = 256 * 1024 * 1024;

export interface PeerExport {
  readonly peer: Peer;
  readonly startedMs: number;
  readonly endedMs: number;
  /** Set when the export had uncompressed layers only: the manifest they are stored under. */
  readonly derived?: Digest;
}

/**
 * The last place before the registry: an image that no store has, but the container runtime of some node. That node
 * exports it once, alone, into the lock holder's store; the others take it from there.
 */
@Injectable()
export class RuntimeExports {
  private readonly logger = new Logger(RuntimeExports.name);

  constructor(
    private readonly peers: PeerService,
    private readonly sweep: PeerSweep,
    private readonly ingest: ExportIngest,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * @param config the bytes of the manifest's config, verified
   * @returns undefined when no peer's runtime has the image, or none could give it
   */
  async fetch(
    { image }: TransferRequest,
    manifest: ImageManifest,
    config: Uint8Array,
    peers: readonly Peer[],
    signal: AbortSignal,
  ): Promise<PeerExport | undefined> {
    const maxBytes = totalBytes(manifest.layers) * MAX_EXPANSION + EXPORT_SLACK_BYTES;
    for (const [peer] of await this.sweep.runtimes(peers, image, signal)) {
      const startedMs = this.clock.monotonicMs();
      try {
        const stream = await this.peers.openExport(peer, image, signal);
        const result = await this.ingest.ingest(stream, { manifest, configBytes: config }, maxBytes, signal);
        return {
          peer,
          startedMs,
          endedMs: this.clock.monotonicMs(),
          ...(result.complete === 'derived' ? { derived: result.derived } : {}),
        };
      } catch (error) {
        signal.throwIfAborted();
        this.peers.report(peer, error);
        this.logger.warn(
          { image, peer: peer.node, error: messageOf(error) },
          'a peer could not export the image',
        );
      }
    }
    return undefined;
  }
}
