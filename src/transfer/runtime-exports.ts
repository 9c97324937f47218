import { Inject, Injectable, Logger } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { messageOf, reasonOf } from '../domain/errors.js';
import { parseImageConfig } from '../domain/manifest.js';
import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { PeerError } from '../peers/peer-error.js';
import type { Peer } from '../peers/peer-identity.js';
import { PeerService } from '../peers/peer.service.js';
import type { WantedBlob } from './blob-source.js';
import { Downlink } from './downlink.js';
import { expectedForm, type ExportForm, isKnown } from './export/export-form.js';
import { ExportIngest, type ExportIntake, type ExportResult } from './export/export-ingest.js';
import { ExportRoom } from './export/export-room.js';
import { type ImagePlan, totalBytes } from './image-plan.js';
import { PeerSweep } from './peer-sweep.js';
import type { TransferListener, TransferRequest } from './transfer-request.js';
import { unpackedBytes } from './unpacked-size.js';

/** Uncompressed layers may be this many times their compressed size, and a little more; an export beyond that is cut. */
const MAX_EXPANSION = 20;
const EXPORT_SLACK_BYTES = 256 * 1024 * 1024;
/** Peers that may refuse, one after the other, before the registry is read. */
const MAX_REFUSALS = 8;
/** How often a peer that stages an image is taken for alive. */
const ALIVE_MS = 1_000;

export interface ExportOrder {
  readonly request: Pick<TransferRequest, 'image' | 'identifiesBy' | 'platform'>;
  readonly plan: ImagePlan;
  readonly peers: readonly Peer[];
  /** The bytes of the manifest's config, verified: they say what an export must consist of. Asked for once there is one. */
  readonly config: () => Promise<Uint8Array | undefined>;
  /** Holds these blobs in the store, and the room for them; throws when there is none. Called again with other sizes. */
  readonly pin: (layers: readonly WantedBlob[]) => Promise<void>;
  readonly listener: TransferListener;
}

export interface PeerExport {
  readonly peer: Peer;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly result: ExportResult;
}

interface Candidate {
  readonly peer: Peer;
  readonly form: ExportForm;
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
    private readonly downlink: Downlink,
    private readonly metrics: PreheatMetrics,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * Takes one export at most: an export that was begun and fails is not made up for by another node's, each of which
   * stages the whole image for it.
   * @returns undefined when no peer's runtime has the very image, or it could not be taken; the caller goes on elsewhere
   */
  async fetch(order: ExportOrder, signal: AbortSignal): Promise<PeerExport | undefined> {
    const candidates = await this.candidates(order, signal);
    const config = candidates.length === 0 ? undefined : await order.config();
    if (!config) return undefined;
    const room = new ExportRoom(order.plan.manifest.layers, parseImageConfig(config).diffIds, order.pin);
    for (const { peer, form } of candidates.slice(0, MAX_REFUSALS)) {
      const startedMs = this.clock.monotonicMs();
      let begun = false;
      try {
        // The blobs of the manifest have their room already, and keep it until uncompressed ones are to come instead.
        if (form === 'any') await room.open();
        const stream = await this.open(peer, order, signal);
        begun = true;
        const image = { manifest: order.plan.manifest, configBytes: config };
        const result = await this.ingest.ingest(
          stream,
          image,
          this.intake(form, order, room, signal),
          signal,
        );
        return { peer, startedMs, endedMs: this.clock.monotonicMs(), result };
      } catch (error) {
        signal.throwIfAborted();
        this.judge(peer, order.request.image, error);
        if (begun || !isRefusal(error)) return undefined;
      }
    }
    return undefined;
  }

  /**
   * Those that say they have the very image, first with the blobs that are of use to every node, then those who cannot
   * say; among equals in any order, so that not all holders ask the same one.
   */
  private async candidates(
    { request, plan, peers }: ExportOrder,
    signal: AbortSignal,
  ): Promise<readonly Candidate[]> {
    const holdings = await this.sweep.runtimes(peers, request.image, signal);
    const ranked = [...holdings].flatMap(([peer, holding]) => {
      const form = expectedForm(plan, request, peer, holding);
      if (!form) return [];
      const rank = isKnown(holding) ? (form === 'original' ? 0 : 1) : 2;
      return [{ peer, form, rank: rank + Math.random() }];
    });
    return ranked.sort((left, right) => left.rank - right.rank);
  }

  /** A peer that stages the image sends nothing for a while: that is no standstill, up to the bound of the call. */
  private async open(
    peer: Peer,
    { request, plan, listener }: ExportOrder,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const stagedBytes = plan.manifest.layers.reduce((sum, layer) => sum + unpackedBytes(layer), 0);
    const opened = new AbortController();
    this.keepAlive(listener, opened.signal).catch(() => undefined);
    try {
      return await this.peers.openExport(peer, request.image, stagedBytes, signal);
    } finally {
      opened.abort();
    }
  }

  private async keepAlive({ onAlive }: TransferListener, signal: AbortSignal): Promise<never> {
    for (;;) {
      onAlive();
      await this.clock.sleep(ALIVE_MS, signal);
    }
  }

  private intake(
    form: ExportForm,
    { plan, listener }: ExportOrder,
    room: ExportRoom,
    signal: AbortSignal,
  ): ExportIntake {
    return {
      form,
      maxBytes: totalBytes(plan.manifest.layers) * MAX_EXPANSION + EXPORT_SLACK_BYTES,
      receive: async (count) => {
        await this.downlink.take(count, signal);
        listener.onBytes(count);
      },
      admit: (sizeBytes) => (form === 'any' ? room.admit(sizeBytes) : Promise.resolve()),
    };
  }

  /** What is ours (a full disk, another form than we can use) is no fault of the peer's. */
  private judge(peer: Peer, image: string, error: unknown): void {
    const isCorrupt =
      error instanceof PeerError ? error.kind === 'corrupt' : reasonOf(error, 'no_source') === 'corrupt';
    if (isCorrupt) {
      this.peers.quarantine(peer, image);
      this.metrics.peerFetchFailed(image, peer.node, 'corrupt');
    } else if (error instanceof PeerError) {
      this.peers.report(peer, error);
      this.metrics.peerFetchFailed(image, peer.node, error.kind);
    }
    this.logger.warn(
      { image, peer: peer.node, error: messageOf(error) },
      'the image could not be taken from the runtime of a peer',
    );
  }
}

/** It said no, or is not there: nothing was staged. One that let us wait for too long may have. */
function isRefusal(error: unknown): boolean {
  return error instanceof PeerError && error.kind !== 'timeout';
}
