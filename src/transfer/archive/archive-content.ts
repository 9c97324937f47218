import type { Readable } from 'node:stream';

import type { Digest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { type Descriptor, type ImageIndex, selectManifest } from '../../domain/manifest.js';
import { type Platform, platformScore } from '../../domain/platform.js';
import type { WantedBlob } from '../blob-source.js';
import type { ArchiveImage } from './archive-image.js';
import { archiveInvalid, type ArchiveReader, blobPath } from './archive-reader.js';

/** A blob that can be had from an archive. */
export interface ArchiveBlob {
  /** Bytes. */
  readonly size: number;
  open(start: number, signal: AbortSignal): Promise<Readable>;
}

/** One platform's manifest in an archive, or one derived for it. */
export interface ArchiveManifest extends WantedBlob {
  readonly config: WantedBlob;
  readonly layers: readonly WantedBlob[];
  /** As the config says it. */
  readonly platform?: Platform;
  readonly derived: boolean;
}

/** What a name in an archive means. */
export interface ArchiveRoot extends WantedBlob {
  /** Canonical names. */
  readonly names: readonly string[];
  readonly index?: ImageIndex;
  /** Those of the index that are there, or the one that is the root. */
  readonly manifests: readonly ArchiveManifest[];
}

/** What one archive holds. */
export class ArchiveContent {
  constructor(
    readonly archive: string,
    private readonly reader: ArchiveReader,
    private readonly roots: readonly ArchiveRoot[],
    /** Blobs that are not under `blobs/sha256/`. */
    private readonly otherBlobs: ReadonlyMap<Digest, ArchiveBlob>,
  ) {}

  hasName(image: string): boolean {
    return this.roots.some(({ names }) => names.includes(image));
  }

  /** By digest, whether or not an image in the archive has it. */
  async blob(digest: Digest): Promise<ArchiveBlob | undefined> {
    const other = this.otherBlobs.get(digest);
    if (other) return other;
    const path = blobPath(digest);
    const size = await this.reader.sizeOf(path);
    if (size === undefined) return undefined;
    return { size, open: (start, signal) => this.reader.open(path, start, signal) };
  }

  /** @throws PreheatFailure `archive_invalid` when the image is there in part only */
  async imageNamed(image: string, platform: Platform): Promise<ArchiveImage | undefined> {
    return this.firstImage(
      this.roots.filter(({ names }) => names.includes(image)),
      platform,
    );
  }

  /** The image whose index or manifest has this digest. @throws as `imageNamed` */
  async imageWithDigest(digest: Digest, platform: Platform): Promise<ArchiveImage | undefined> {
    const byRoot = await this.firstImage(
      this.roots.filter((root) => root.digest === digest),
      platform,
    );
    if (byRoot) return byRoot;
    const manifest = this.manifests().find((candidate) => candidate.digest === digest);
    return manifest && this.imageOf(manifest, manifest);
  }

  /** An image around this config, whatever its manifest. @throws as `imageNamed` */
  async imageWithConfig(config: Digest): Promise<ArchiveImage | undefined> {
    const manifest = this.manifests().find((candidate) => candidate.config.digest === config);
    return manifest && this.imageOf(manifest, manifest);
  }

  hasConfig(config: Digest): boolean {
    return this.manifests().some((manifest) => manifest.config.digest === config);
  }

  private manifests(): ArchiveManifest[] {
    return this.roots.flatMap(({ manifests }) => manifests);
  }

  private async firstImage(
    roots: readonly ArchiveRoot[],
    platform: Platform,
  ): Promise<ArchiveImage | undefined> {
    for (const root of roots) {
      const manifest = manifestFor(root, platform);
      if (manifest) return this.imageOf(root, manifest);
    }
    return undefined;
  }

  private async imageOf(root: WantedBlob, manifest: ArchiveManifest): Promise<ArchiveImage> {
    const blobs = new Map<Digest, WantedBlob>();
    for (const { digest, size, mediaType } of [root, manifest, manifest.config, ...manifest.layers]) {
      const blob = await this.blob(digest);
      if (blob?.size !== size) {
        const found = blob ? `has ${blob.size} bytes` : 'is not there';
        throw archiveInvalid(`${digest} of ${size} bytes is part of an image in it, but ${found}`);
      }
      blobs.set(digest, { digest, size, mediaType });
    }
    return {
      archive: this.archive,
      root: root.digest,
      manifest: manifest.digest,
      config: manifest.config.digest,
      blobs: [...blobs.values()],
      derived: manifest.derived,
    };
  }
}

function manifestFor({ index, manifests }: ArchiveRoot, platform: Platform): ArchiveManifest | undefined {
  if (index === undefined) {
    const [only] = manifests;
    return only?.platform === undefined || platformScore(platform, only.platform) > 0 ? only : undefined;
  }
  const selected = selectOrNone(index, platform);
  return manifests.find(({ digest }) => digest === selected?.digest);
}

function selectOrNone(index: ImageIndex, platform: Platform): Descriptor | undefined {
  try {
    return selectManifest(index, platform);
  } catch (error) {
    if (error instanceof PreheatFailure && error.reason === 'platform_not_supported') return undefined;
    throw error;
  }
}
