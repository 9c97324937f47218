import type { Digest } from '../domain/digest.js';
import { MAX_MANIFEST_BYTES } from '../domain/manifest.js';
import type { Peer } from '../peers/peer-identity.js';
import type { BlobStore } from '../store/blob-store.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import type { Contributions } from './contributions.js';
import type { Flights } from './flights.js';
import { distinctBlobs, type ImagePlan, manifestsOf } from './image-plan.js';
import type { RuntimeExports } from './runtime-exports.js';
import type { TransferListener, TransferRequest } from './transfer-request.js';

export interface ExportedImageParts {
  readonly store: Pick<BlobStore, 'readBytes'>;
  readonly flights: Pick<Flights, 'ended'>;
  readonly exports: Pick<RuntimeExports, 'fetch'>;
}

/** What a session does with the blobs of an export. */
export interface ExportedImageSteps {
  /** Makes room for `blobs`, and says which are missing. */
  readonly prepare: (blobs: readonly WantedBlob[]) => Promise<WantedBlob[]>;
  readonly bring: (blob: WantedBlob, source: BlobSource, signal: AbortSignal) => Promise<boolean>;
  readonly listener: TransferListener;
}

/** What a lock holder is about to read from the registry. */
export interface ImageToRead {
  readonly plan: ImagePlan;
  readonly peers: readonly Peer[];
  /** The registry. */
  readonly source: BlobSource;
  readonly toRead: readonly WantedBlob[];
}

/** The image of a session as the container runtime of some node exports it, in place of blobs from the registry. */
export class ExportedImage {
  private asked = false;
  private derivedManifest: Digest | undefined;

  constructor(
    private readonly request: TransferRequest,
    private readonly parts: ExportedImageParts,
    private readonly contributions: Contributions,
    private readonly steps: ExportedImageSteps,
  ) {}

  /** The manifest under which the image is in the store, whole; undefined where no export has brought it so. */
  get derived(): Digest | undefined {
    return this.derivedManifest;
  }

  /** Once in a session. @returns true when the image is there, whole, under a derived manifest */
  async take({ plan, peers, source, toRead }: ImageToRead, signal: AbortSignal): Promise<boolean> {
    if (this.asked) return false;
    this.asked = true;
    const replaced = new Set(toRead.map(({ digest }) => digest));
    // The config is read before the export is, and stays.
    replaced.delete(plan.manifest.config.digest);
    const kept = plan.blobs.filter(({ digest }) => !replaced.has(digest));
    const exported = await this.parts.exports.fetch(
      {
        request: this.request,
        plan,
        peers,
        config: () => this.configOf(plan, source, signal),
        pin: async (layers) => {
          await this.steps.prepare(distinctBlobs([...kept, ...layers]));
        },
        listener: this.steps.listener,
      },
      signal,
    );
    if (!exported) return false;
    const { peer, startedMs, endedMs, result } = exported;
    this.contributions.add(plan.root, { kind: 'peer', name: peer.node }, startedMs, endedMs);
    if (result.complete === 'original') return false;
    const missing = await this.steps.prepare(distinctBlobs([...manifestsOf(plan), ...result.blobs]));
    if (missing.length > 0) return false;
    this.derivedManifest = result.derived;
    return true;
  }

  /** The image's config, read from `source` if need be: it says what an exported image must consist of. */
  private async configOf(
    plan: ImagePlan,
    source: BlobSource,
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const { config } = plan.manifest;
    await this.parts.flights.ended(config.digest);
    const stored = await this.parts.store.readBytes(config.digest, MAX_MANIFEST_BYTES);
    if (stored) return stored;
    await this.steps.bring(config, source, signal);
    return this.parts.store.readBytes(config.digest, MAX_MANIFEST_BYTES);
  }
}
