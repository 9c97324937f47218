import { anySignal, withTimeout } from '../common/abort.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { PreheatFailure, reasonOf } from '../domain/errors.js';
import {
  attestationsOf,
  type Descriptor,
  type ImageManifest,
  MAX_MANIFEST_BYTES,
  parseManifest,
  selectManifest,
} from '../domain/manifest.js';
import type { ImageReference } from '../domain/image-reference.js';
import type { Platform } from '../domain/platform.js';
import type { Lease } from '../lock/lease.js';
import type { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { PeerError } from '../peers/peer-error.js';
import type { Peer } from '../peers/peer-identity.js';
import type { PeerService } from '../peers/peer.service.js';
import type { RegistryClient } from '../registry/registry-client.js';
import type { BlobStore } from '../store/blob-store.js';
import type { BlobSource, WantedBlob } from './blob-source.js';
import type { Contributions } from './contributions.js';
import { distinctBlobs, type ImagePlan } from './image-plan.js';
import type { PeerSweep } from './peer-sweep.js';
import { PeerSource } from './peer.source.js';
import { readAll } from './read-all.js';

export interface ManifestParts {
  readonly store: BlobStore;
  readonly peers: PeerService;
  readonly sweep: PeerSweep;
  readonly registry: RegistryClient;
  readonly archives: BlobSource;
  readonly metrics: PreheatMetrics;
}

/**
 * A peer that has not sent a manifest by then, whole, is passed over, milliseconds: one that sends a byte now and then would
 * hold up the image for as long as it may stand still.
 */
const PEER_MANIFEST_MS = 10_000;

/** Nobody this node may ask has a manifest of the image. */
export class ManifestMissing extends Error {}

/**
 * Brings the manifests of one image into the store, nearest source first, and makes the plan of all its blobs.
 * Manifests are small and needed first, so they are read whole, one after the other, each checked against its digest.
 */
export class ManifestCollector {
  constructor(
    private readonly image: string,
    private readonly reference: ImageReference,
    private readonly platform: Platform,
    private readonly contributions: Contributions,
    private readonly parts: ManifestParts,
  ) {}

  /**
   * @throws ManifestMissing without a lease, when no peer asked has a manifest
   * @throws PreheatFailure `platform_not_supported`, or what the registry said
   */
  async plan(
    root: Digest,
    peers: readonly Peer[],
    lease: Lease | undefined,
    signal: AbortSignal,
  ): Promise<ImagePlan> {
    const get = (digest: Digest) => this.manifest(digest, peers, lease, signal);
    const rootBytes = await get(root);
    const top = parseManifest(rootBytes);
    const wanted: WantedBlob[] = [{ digest: root, size: rootBytes.length, mediaType: top.mediaType }];
    if (top.kind === 'manifest') {
      return {
        root,
        manifest: top,
        manifestDigest: root,
        blobs: distinctBlobs([...wanted, ...blobsOf(top)]),
      };
    }
    const descriptor = selectManifest(top, this.platform);
    const manifest = await this.child(descriptor, get);
    wanted.push(descriptor, ...blobsOf(manifest));
    for (const attestation of attestationsOf(top, descriptor.digest)) {
      wanted.push(attestation, ...blobsOf(await this.child(attestation, get)));
    }
    return { root, manifest, manifestDigest: descriptor.digest, blobs: distinctBlobs(wanted) };
  }

  private async child(
    descriptor: Descriptor,
    get: (digest: Digest) => Promise<Uint8Array>,
  ): Promise<ImageManifest> {
    const parsed = parseManifest(await get(descriptor.digest));
    if (parsed.kind === 'manifest') return parsed;
    throw new PreheatFailure('registry_error', 'an image index within an image index is not supported');
  }

  /** One manifest's bytes; in the store afterwards. */
  async manifest(
    digest: Digest,
    peers: readonly Peer[],
    lease: Lease | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const stored = await this.parts.store.readBytes(digest, MAX_MANIFEST_BYTES);
    if (stored) return stored;
    const bytes =
      (await this.fromArchive(digest, signal)) ??
      (await this.fromPeers(digest, peers, signal)) ??
      (await this.fromRegistry(digest, lease, signal));
    await this.parts.store.putBytes(digest, bytes);
    return bytes;
  }

  private async fromArchive(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const blob: WantedBlob = { digest, size: MAX_MANIFEST_BYTES, mediaType: '' };
    return (await this.parts.archives.has(blob, signal))
      ? this.read(this.parts.archives, blob, signal)
      : undefined;
  }

  private async fromPeers(
    digest: Digest,
    peers: readonly Peer[],
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const asked = { digest, size: MAX_MANIFEST_BYTES };
    const answers =
      (await this.parts.sweep.availability(peers, this.image, [asked], signal)).get(digest) ?? [];
    for (const { peer, complete, size } of answers) {
      if (!complete || size > MAX_MANIFEST_BYTES) continue;
      const bytes = await this.read(
        new PeerSource(this.parts.peers, peer),
        { digest, size, mediaType: '' },
        signal,
      );
      if (bytes) return bytes;
    }
    return undefined;
  }

  private async fromRegistry(
    digest: Digest,
    lease: Lease | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    if (!lease) throw new ManifestMissing(digest);
    if (!lease.mayReadRegistry()) throw new PreheatFailure('lock_unavailable', 'the lock was lost');
    const startedMs = performance.now();
    const bytes = await this.parts.registry.manifest(this.reference, digest, anySignal(signal, lease.signal));
    this.contributions.add(
      digest,
      { kind: 'registry', name: this.reference.registry },
      startedMs,
      performance.now(),
    );
    return bytes;
  }

  /** Undefined when the source failed or sent something else: there are other sources. */
  private async read(
    source: BlobSource,
    blob: WantedBlob,
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const startedMs = performance.now();
    try {
      const bytes = await (source instanceof PeerSource
        ? withTimeout(
            PEER_MANIFEST_MS,
            () => tooSlow(source),
            (limited) => readFrom(source, blob, limited),
            signal,
          )
        : readFrom(source, blob, signal));
      if (digestOf(bytes) !== blob.digest)
        throw new PreheatFailure('corrupt', `${source.name} sent other bytes than ${blob.digest}`);
      this.contributions.add(blob.digest, source, startedMs, performance.now());
      return bytes;
    } catch (error) {
      signal.throwIfAborted();
      if (source instanceof PeerSource) this.judge(source.peer, error);
      return undefined;
    }
  }

  private judge(peer: Peer, error: unknown): void {
    if (reasonOf(error, 'no_source') !== 'corrupt') {
      this.parts.peers.report(peer, error);
      return;
    }
    this.parts.peers.quarantine(peer, this.image);
    this.parts.metrics.peerFetchFailed(this.image, peer.node, 'corrupt');
  }
}

async function readFrom(source: BlobSource, blob: WantedBlob, signal: AbortSignal): Promise<Buffer> {
  const { stream } = await source.open(blob, { start: 0, end: blob.size }, signal);
  return readAll(stream, MAX_MANIFEST_BYTES);
}

function tooSlow({ name }: BlobSource): PeerError {
  return new PeerError('timeout', `${name} took more than ${PEER_MANIFEST_MS / 1000} s for a manifest.`);
}

function blobsOf({ config, layers }: ImageManifest): Descriptor[] {
  return [config, ...layers];
}
