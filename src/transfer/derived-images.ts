import type { Digest } from '../domain/digest.js';
import { MAX_MANIFEST_BYTES, parseImageConfig, parseManifest } from '../domain/manifest.js';
import { formatPlatform } from '../domain/platform.js';
import type { Peer } from '../peers/peer-identity.js';
import type { BlobStore } from '../store/blob-store.js';
import type { ImageCatalog } from '../store/image-catalog.js';
import type { ArchiveIndex } from './archive/archive-index.js';
import type { WantedBlob } from './blob-source.js';
import { derivedBlobs, type ImagePlan, isDerivedFrom } from './image-plan.js';
import { type ManifestCollector, ManifestMissing } from './manifest-collector.js';
import type { PeerSweep } from './peer-sweep.js';
import type { TransferRequest } from './transfer-request.js';

export interface DerivedImagesParts {
  readonly store: Pick<BlobStore, 'sizeOf' | 'readBytes'>;
  readonly catalog: Pick<ImageCatalog, 'find'>;
  readonly archiveIndex: ArchiveIndex;
  readonly sweep: Pick<PeerSweep, 'availability'>;
}

/** What a session does with the blobs of a derived image. */
export interface DerivedImagesSteps {
  /** Makes room for `blobs`, and says which are missing. */
  readonly prepare: (blobs: readonly WantedBlob[]) => Promise<WantedBlob[]>;
  readonly gather: (
    blobs: readonly WantedBlob[],
    signal: AbortSignal,
  ) => Promise<'complete' | 'waiting' | 'no_source'>;
}

/**
 * The same image under another manifest, made around the same config from uncompressed layers: as good as the original for
 * a runtime that knows images by their config, and for no other.
 */
export class DerivedImages {
  constructor(
    private readonly request: TransferRequest,
    private readonly parts: DerivedImagesParts,
    private readonly manifests: ManifestCollector,
    private readonly steps: DerivedImagesSteps,
  ) {}

  /** The derived manifest that an earlier session left, when all its blobs are still in the store. */
  async inStore({ root }: ImagePlan): Promise<Digest | undefined> {
    if (this.request.identifiesBy !== 'config') return undefined;
    const known = this.parts.catalog.find(this.request.image, formatPlatform(this.request.platform));
    if (known?.root !== root || !known.derived) return undefined;
    const sizes = await Promise.all(known.blobs.map(({ digest }) => this.parts.store.sizeOf(digest)));
    return sizes.every((size) => size !== undefined) ? known.derived : undefined;
  }

  /** An archive may hold the same image, by its config, under a manifest of its own; what it holds else is reported. */
  async fromArchive(
    plan: ImagePlan,
    peers: () => readonly Peer[],
    signal: AbortSignal,
  ): Promise<Digest | undefined> {
    const { archiveIndex } = this.parts;
    const { image, identifiesBy } = this.request;
    const config = plan.manifest.config.digest;
    await archiveIndex.reportStale(image, plan.root, config, signal);
    if (identifiesBy !== 'config') return undefined;
    const archived = await archiveIndex.findByConfig(config, signal);
    if (!archived || archived.manifest === plan.manifestDigest) return undefined;
    return (await this.take(plan, archived.manifest, peers, signal)) ? archived.manifest : undefined;
  }

  /**
   * A peer may hold the image as its runtime exported it, repacked under a manifest derived from the same config. That
   * is as good for a runtime that knows images by their config, and for no other.
   */
  async fromPeers(
    plan: ImagePlan,
    peers: () => readonly Peer[],
    signal: AbortSignal,
  ): Promise<Digest | undefined> {
    if (this.request.identifiesBy !== 'config') return undefined;
    const root = { digest: plan.root, size: MAX_MANIFEST_BYTES };
    const answers = await this.parts.sweep.availability(peers(), this.request.image, [root], signal);
    for (const digest of new Set(answers.get(plan.root)?.flatMap(({ derived }) => derived?.digest ?? []))) {
      if (await this.take(plan, digest, peers, signal)) return digest;
    }
    return undefined;
  }

  private async take(
    plan: ImagePlan,
    digest: Digest,
    peers: () => readonly Peer[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const bytes = await this.manifest(digest, peers, signal);
    if (!bytes) return false;
    const derived = parseManifest(bytes);
    if (derived.kind !== 'manifest') return false;
    if ((await this.steps.gather([plan.manifest.config], signal)) !== 'complete') return false;
    const config = await this.parts.store.readBytes(plan.manifest.config.digest, MAX_MANIFEST_BYTES);
    if (!config || !isDerivedFrom(derived, plan.manifest, parseImageConfig(config))) return false;
    const missing = await this.steps.prepare(derivedBlobs(plan, digest, bytes.length, derived));
    if ((await this.steps.gather(missing, signal)) !== 'complete') return false;
    return true;
  }

  /** Undefined when whoever announced it cannot give it: it was evicted there, or the peer is busy. */
  private async manifest(
    digest: Digest,
    peers: () => readonly Peer[],
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    try {
      return await this.manifests.manifest(digest, peers(), undefined, signal);
    } catch (error) {
      if (error instanceof ManifestMissing) return undefined;
      throw error;
    }
  }
}
