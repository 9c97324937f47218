import { anySignal } from '../common/abort.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { isManifestType, MAX_MANIFEST_BYTES, parseManifest } from '../domain/manifest.js';
import { formatPlatform } from '../domain/platform.js';
import type { Lease } from '../lock/lease.js';
import type { Peer } from '../peers/peer-identity.js';
import type { RuntimeLoad } from '../store/runtime-disk.js';
import type { Pin } from '../store/store-space.js';
import { BlobBringer } from './blob-bringer.js';
import { BlobCollector, type CollectorMemory, type CollectorOptions } from './blob-collector.js';
import type { WantedBlob } from './blob-source.js';
import { Contributions } from './contributions.js';
import { DerivedImages } from './derived-images.js';
import { ExportedImage } from './exported-image.js';
import { derivedBlobs, type ImagePlan, totalBytes } from './image-plan.js';
import { ManifestCollector, ManifestMissing } from './manifest-collector.js';
import { neighboursOf } from './neighbours.js';
import { PeerFailures } from './peer-failures.js';
import { RegistrySource } from './registry.source.js';
import { Suspects } from './suspects.js';
import { ImageSwarm } from './swarm/image-swarm.js';
import type { OriginAccess } from './swarm/origin-reading.js';
import type { SessionParts } from './session-parts.js';
import type {
  TransferListener,
  TransferOutcome,
  TransferProgress,
  TransferRequest,
} from './transfer-request.js';
import { loadBytes } from './unpacked-size.js';

/** What this node may do in one attempt, and whom it knows to be at work. */
export interface AttemptOptions {
  /** Set when this node holds the image's lock: only then is the registry read. */
  readonly lease?: Lease;
  /** Instance of the holder that the record names: always among the peers asked. */
  readonly holderInstance?: string;
}

/**
 * One image on its way into the store, from its first attempt until the runtime has it: what is in the store stays
 * pinned there, and what was learned about sources is remembered.
 */
export class TransferSession {
  private readonly contributions = new Contributions();
  private readonly manifests: ManifestCollector;
  private readonly memory: CollectorMemory;
  private readonly derivedImages: DerivedImages;
  private readonly exported: ExportedImage;
  private holderInstance: string | undefined;
  private pin: Pin | undefined;
  private pinned: readonly WantedBlob[] | undefined;
  private plan: ImagePlan | undefined;
  private bytesDone = 0;
  private bytesTotal = 0;

  constructor(
    private readonly request: TransferRequest,
    private readonly parts: SessionParts,
    private readonly listener: TransferListener,
  ) {
    const { image, reference, platform } = request;
    this.manifests = new ManifestCollector(image, reference, platform, this.contributions, parts);
    const failures = new PeerFailures(image, parts.metrics);
    this.memory = {
      swarm: new ImageSwarm(image, parts.self.node, parts),
      contributions: this.contributions,
      suspects: new Suspects(),
      failures,
      bringer: new BlobBringer(image, this.contributions, failures, parts, (count) => this.arrived(count)),
    };
    this.derivedImages = new DerivedImages(request, parts, this.manifests, {
      prepare: (blobs) => this.prepare(blobs),
      gather: (blobs, signal) => this.gather(blobs, signal),
    });
    this.exported = new ExportedImage(request, parts, this.contributions, {
      prepare: (blobs) => this.prepare(blobs),
      bring: (blob, source, signal) => this.memory.bringer.bring(blob, source, signal),
      listener: { ...listener, onBytes: (count) => this.arrived(count) },
    });
  }

  get progress(): TransferProgress {
    return { bytesDone: this.bytesDone, bytesTotal: this.bytesTotal, source: this.contributions.source };
  }

  /** Bytes of the image's config and layers, each once; 0 until its manifests are known. */
  get blobBytes(): number {
    return totalBytes(this.plan?.blobs.filter(({ mediaType }) => !isManifestType(mediaType)) ?? []);
  }

  /** Milliseconds for which each contributing peer was read from. */
  peerDurations(): [peer: string, durationMs: number][] {
    return this.contributions.peerDurations();
  }

  /** One attempt. @throws PreheatFailure when more attempts of the same kind would not help now */
  async attempt({ lease, holderInstance }: AttemptOptions, signal: AbortSignal): Promise<TransferOutcome> {
    this.holderInstance = holderInstance;
    const peers = () => this.peersFor(lease, holderInstance);
    try {
      this.plan ??= await this.manifests.plan(this.request.digest, peers(), lease, signal);
      return await this.collect(this.plan, peers, lease, signal);
    } catch (error) {
      if (error instanceof ManifestMissing) return { kind: 'no_source' };
      throw error;
    }
  }

  /** The runtime asked for a manifest or blob of the index that is not part of the plan: it is fetched as well. */
  async include(
    digest: Digest,
    { lease, holderInstance }: AttemptOptions,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.manifests.manifest(digest, this.peersFor(lease, holderInstance), lease, signal);
    } catch (error) {
      if (!(error instanceof ManifestMissing)) throw error;
      throw new PreheatFailure('no_source', `the runtime asks for ${digest}, which no peer has`, {
        cause: error,
      });
    }
  }

  /** Ends the session: its blobs may be evicted again. */
  release(): void {
    this.pin?.release();
    this.pin = undefined;
    this.pinned = undefined;
  }

  /** Everybody for a lock holder, neighbours for the others; without those that sent wrong bytes of this image. */
  private peersFor(lease: Lease | undefined, holderInstance: string | undefined): readonly Peer[] {
    const peers = this.parts.peers.peers(this.request.image);
    return lease ? peers : neighboursOf(peers, holderInstance);
  }

  private arrived(count: number): void {
    this.bytesDone = Math.min(this.bytesTotal, this.bytesDone + count);
    this.listener.onBytes(count);
  }

  private async collect(
    plan: ImagePlan,
    peers: () => readonly Peer[],
    lease: Lease | undefined,
    signal: AbortSignal,
  ): Promise<TransferOutcome> {
    const missing = await this.withManifests(await this.prepare(plan.blobs), peers, lease, signal);
    if (missing.length === 0) return this.completed(plan, undefined);
    const repacked =
      (await this.derivedImages.inStore(plan)) ?? (await this.derivedImages.fromArchive(plan, peers, signal));
    if (repacked) return this.completed(plan, repacked);

    this.listener.onFetching?.({
      root: this.rootFor(plan),
      config: plan.manifest.config.digest,
      missing: missing.map(({ digest }) => digest),
    });
    const origin = lease && this.originOf(plan, peers, lease);
    const outcome = await this.gather(missing, signal, origin);
    if (this.exported.derived) return this.completed(plan, this.exported.derived);
    if (outcome === 'complete') return this.completed(plan, undefined);
    const derived = await this.derivedImages.fromPeers(plan, peers, signal);
    return derived ? this.completed(plan, derived) : { kind: outcome };
  }

  /** Makes sure there is room for `blobs`, pins them and says which are not in the store. */
  private async prepare(blobs: readonly WantedBlob[]): Promise<WantedBlob[]> {
    if (this.pinned !== blobs) {
      this.pin = await this.parts.space.pin(this.request.image, blobs, this.loadOf(blobs), this.pin);
      this.pinned = blobs;
    }
    const stored = await Promise.all(
      blobs.map(async ({ digest }) => (await this.parts.store.sizeOf(digest)) !== undefined),
    );
    const missing = blobs.filter((_, index) => !stored[index]);
    this.bytesTotal = totalBytes(blobs);
    const partial = missing.reduce((sum, { digest }) => sum + this.parts.store.verifiedBytes(digest), 0);
    this.bytesDone = this.bytesTotal - totalBytes(missing) + partial;
    return missing;
  }

  /** Manifests that were evicted before they were pinned are fetched again, as manifests; the rest is left to be done. */
  private async withManifests(
    missing: readonly WantedBlob[],
    peers: () => readonly Peer[],
    lease: Lease | undefined,
    signal: AbortSignal,
  ): Promise<WantedBlob[]> {
    for (const { digest, mediaType } of missing)
      if (isManifestType(mediaType)) await this.manifests.manifest(digest, peers(), lease, signal);
    return missing.filter(({ mediaType }) => !isManifestType(mediaType));
  }

  /** What the runtime will need for the image, beside the layers that images have which it has already. */
  private loadOf(blobs: readonly WantedBlob[]): RuntimeLoad | undefined {
    const { runtimeDirectory, isLoaded, identifiesBy } = this.request;
    if (runtimeDirectory === undefined) return undefined;
    const loaded = this.parts.catalog.list().filter(({ image }) => isLoaded(image));
    const there = new Set(loaded.flatMap((image) => image.blobs.map(({ digest }) => digest)));
    const toLoad = blobs.filter(({ digest }) => !there.has(digest));
    return { directory: runtimeDirectory, sizeBytes: loadBytes(toLoad, identifiesBy) };
  }

  private gather(
    blobs: readonly WantedBlob[],
    signal: AbortSignal,
    origin?: OriginAccess,
  ): Promise<'complete' | 'waiting' | 'no_source'> {
    const { image, claimKey } = this.request;
    const options: CollectorOptions = {
      image,
      claimKey,
      peers: () => this.parts.peers.peers(image),
      holder: this.holderInstance,
      onBytes: (count) => this.arrived(count),
      onStored: (digest) => this.listener.onStored?.(digest),
      ...(origin ? { origin } : {}),
    };
    return new BlobCollector(blobs, options, this.memory, this.parts).collect(signal);
  }

  private originOf(plan: ImagePlan, peers: () => readonly Peer[], lease: Lease): OriginAccess {
    const source = new RegistrySource(this.parts.registry, this.request.reference, lease);
    return {
      source,
      insteadOfReading: async (toRead, signal) => {
        const either = anySignal(signal, lease.signal);
        if (await this.exported.take({ plan, peers: peers(), source, toRead }, either)) return true;
        // It may have brought the original blobs.
        return (await this.prepare(plan.blobs)).length === 0;
      },
    };
  }

  private async completed(plan: ImagePlan, derived: Digest | undefined): Promise<TransferOutcome> {
    const { image, platform } = this.request;
    let blobs = plan.blobs;
    if (derived) {
      const bytes = await this.parts.store.readBytes(derived, MAX_MANIFEST_BYTES);
      const manifest = bytes && parseManifest(bytes);
      if (manifest?.kind === 'manifest') blobs = derivedBlobs(plan, derived, bytes?.length ?? 0, manifest);
    }
    this.bytesTotal = totalBytes(blobs);
    this.bytesDone = this.bytesTotal;
    const [root] = plan.blobs;
    if (!root) throw new RangeError('a plan begins with its root');
    await this.parts.catalog.add({
      image,
      platform: formatPlatform(platform),
      root: plan.root,
      mediaType: root.mediaType,
      size: root.size,
      blobs,
      ...(derived ? { derived } : {}),
    });
    return { kind: 'complete', root: derived ?? this.rootFor(plan) };
  }

  /** What the runtime is to pull of an image whose own blobs are there. */
  private rootFor(plan: ImagePlan): Digest {
    return this.request.native ? plan.root : plan.manifestDigest;
  }
}
