import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Digest, digestOf, hexOf } from '../../src/domain/digest.js';
import { MEDIA_TYPES } from '../../src/domain/manifest.js';
import { type Platform, platformOfProcess } from '../../src/domain/platform.js';
import { type BuiltLayer, buildLayer, type Compression, type LayerSpec } from './layer-builder.js';

export interface ImageSpec {
  readonly layers: readonly LayerSpec[];
  /** This machine's by default. */
  readonly platform?: Platform;
  /** OCI by default; Docker's schema 2 knows no zstd. */
  readonly format?: 'oci' | 'docker';
  /** Goes into the config, so that images of the same layers differ. */
  readonly label?: string;
}

export interface BlobFile {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

export interface BuiltImage {
  /** What a tag names: a manifest, or an index. */
  readonly root: BlobFile;
  /** Every blob and manifest below `root` and itself, children before those who name them. */
  readonly blobs: readonly BlobFile[];
  /** The one image, or each of an index, in its order. */
  readonly images: readonly SingleImage[];
  /** Where the blobs lie, each named by the hex of its digest. */
  readonly directory: string;
}

export interface SingleImage {
  readonly platform: Platform;
  readonly manifest: BlobFile;
  readonly config: BlobFile;
  readonly layers: readonly BuiltLayer[];
}

const LAYER_SUFFIX: Record<Compression, string> = { none: '', gzip: '+gzip', zstd: '+zstd' };
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';
const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';

/** Builds images of generated content in a temporary directory; layers of one specification are built once. */
export class ImageBuilder {
  private readonly layers = new Map<string, Promise<BuiltLayer>>();

  private constructor(readonly directory: string) {}

  static async create(): Promise<ImageBuilder> {
    return new ImageBuilder(await mkdtemp(join(tmpdir(), 'img-')));
  }

  async dispose(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  async image(spec: ImageSpec): Promise<BuiltImage> {
    const { format = 'oci', platform = platformOfProcess(process.platform, process.arch), label } = spec;
    const layers: BuiltLayer[] = [];
    // One after the other: a build is bound by the processor.
    for (const layer of spec.layers) layers.push(await this.layer(layer));
    const configType = format === 'oci' ? MEDIA_TYPES.ociConfig : DOCKER_CONFIG;
    const config = await this.document(configType, {
      architecture: platform.architecture,
      os: platform.os,
      ...(platform.variant === undefined ? {} : { variant: platform.variant }),
      created: '2020-01-01T00:00:00Z',
      config: {
        Cmd: ['/bin/true'],
        Env: ['PATH=/bin'],
        ...(label === undefined ? {} : { Labels: { label } }),
      },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map((_, index) => ({ created: '2020-01-01T00:00:00Z', created_by: `layer ${index}` })),
    });
    const layerBlobs = layers.map(({ digest, size, compression }) => ({
      mediaType:
        format === 'oci'
          ? `${MEDIA_TYPES.ociLayer}${LAYER_SUFFIX[compression]}`
          : `${DOCKER_LAYER}${compression === 'none' ? '' : '.gzip'}`,
      digest,
      size,
    }));
    const mediaType = format === 'oci' ? MEDIA_TYPES.ociManifest : MEDIA_TYPES.dockerManifest;
    const manifest = await this.document(mediaType, {
      schemaVersion: 2,
      mediaType,
      config,
      layers: layerBlobs,
    });
    const blobs = unique([...layerBlobs, config, manifest]);
    const { directory } = this;
    return { root: manifest, blobs, images: [{ platform, manifest, config, layers }], directory };
  }

  /** One index over several single images; with `attestations`, each gets one as BuildKit writes them. */
  async index(
    images: readonly BuiltImage[],
    { format = 'oci', attestations = false }: { format?: 'oci' | 'docker'; attestations?: boolean } = {},
  ): Promise<BuiltImage> {
    const mediaType = format === 'oci' ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.dockerList;
    const singles = images.flatMap((image) => image.images);
    const extra: BlobFile[] = [];
    const manifests: unknown[] = singles.map(({ manifest, platform }) => ({ ...manifest, platform }));
    for (const { manifest } of attestations ? singles : []) {
      const attestation = await this.attestation(manifest, extra);
      manifests.push({
        ...attestation,
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': manifest.digest,
        },
      });
    }
    const root = await this.document(mediaType, { schemaVersion: 2, mediaType, manifests });
    const blobs = unique([...images.flatMap((image) => image.blobs), ...extra, root]);
    return { root, blobs, images: singles, directory: this.directory };
  }

  private async attestation({ digest }: BlobFile, written: BlobFile[]): Promise<BlobFile> {
    const statement = await this.document('application/vnd.in-toto+json', { subject: [{ digest }] });
    const config = await this.document(MEDIA_TYPES.ociConfig, {
      os: 'unknown',
      architecture: 'unknown',
      config: {},
      rootfs: { type: 'layers', diff_ids: [statement.digest] },
    });
    const mediaType = MEDIA_TYPES.ociManifest;
    const manifest = await this.document(mediaType, {
      schemaVersion: 2,
      mediaType,
      config,
      layers: [statement],
    });
    written.push(statement, config, manifest);
    return manifest;
  }

  private layer(spec: LayerSpec): Promise<BuiltLayer> {
    const key = JSON.stringify([spec.seed, spec.sizeBytes, spec.compressible, spec.compression, spec.files]);
    const known = this.layers.get(key);
    if (known) return known;
    const built = buildLayer(this.directory, spec);
    this.layers.set(key, built);
    return built;
  }

  private async document(mediaType: string, content: unknown): Promise<BlobFile> {
    const bytes = Buffer.from(JSON.stringify(content));
    const digest = digestOf(bytes);
    await mkdir(this.directory, { recursive: true });
    await writeFile(join(this.directory, hexOf(digest)), bytes);
    return { mediaType, digest, size: bytes.length };
  }
}

function unique(blobs: readonly BlobFile[]): BlobFile[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}
