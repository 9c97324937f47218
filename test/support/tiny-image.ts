import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';

import { encodeTarHeader, tarPaddingOf } from '../../src/common/tar/tar-header.js';
import { type Digest, digestOf, hexOf } from '../../src/domain/digest.js';
import { type ImageManifest, MEDIA_TYPES } from '../../src/domain/manifest.js';
import type { Platform } from '../../src/domain/platform.js';

export const TINY_PLATFORM: Platform = { os: 'linux', architecture: 'amd64' };

/** A tar of these files, in memory. */
export function tarOf(files: readonly (readonly [name: string, content: Buffer | string])[]): Buffer {
  const parts = files.flatMap(([name, content]) => {
    const bytes = Buffer.from(content);
    return [encodeTarHeader(name, bytes.length), bytes, Buffer.alloc(tarPaddingOf(bytes.length))];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

/** An image of a few kilobytes, all of it in memory, for tests without engines. */
export interface TinyImage {
  /** Uncompressed. */
  readonly layers: readonly Buffer[];
  readonly gzipped: readonly Buffer[];
  readonly config: Buffer;
  /** Of the gzipped layers. */
  readonly manifest: ImageManifest;
  readonly manifestBytes: Buffer;
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

export function tinyImage(layerCount = 2, platform = TINY_PLATFORM): TinyImage {
  const layers = Array.from({ length: layerCount }, (_, at) => tarOf([[`file-${at}`, randomBytes(2000)]]));
  const gzipped = layers.map((layer) => gzipSync(layer));
  const config = Buffer.from(
    JSON.stringify({
      ...platform,
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) },
    }),
  );
  const descriptorOf = (mediaType: string, bytes: Buffer): ImageManifest['config'] => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest: ImageManifest = {
    kind: 'manifest',
    mediaType: MEDIA_TYPES.ociManifest,
    config: descriptorOf(MEDIA_TYPES.ociConfig, config),
    layers: gzipped.map((layer) => descriptorOf(`${MEDIA_TYPES.ociLayer}+gzip`, layer)),
  };
  const { mediaType, layers: layerDescriptors } = manifest;
  const manifestBytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType, config: manifest.config, layers: layerDescriptors }),
  );
  const blobs = new Map([manifestBytes, config, ...gzipped].map((bytes) => [digestOf(bytes), bytes]));
  return { layers, gzipped, config, manifest, manifestBytes, blobs };
}

/** As `docker save` writes it up to Docker 24. */
export function dockerArchiveFiles(
  { config, layers }: TinyImage,
  repoTags: readonly string[],
): [string, Buffer][] {
  const configPath = `${hexOf(digestOf(config))}.json`;
  const layerPaths = layers.map((layer) => `${hexOf(digestOf(layer))}/layer.tar`);
  const manifest = [{ Config: configPath, RepoTags: repoTags, Layers: layerPaths }];
  return [
    ...layers.map((layer, at): [string, Buffer] => [layerPaths[at] ?? '', layer]),
    [configPath, config],
    ['manifest.json', Buffer.from(JSON.stringify(manifest))],
  ];
}

/** An OCI layout; `names` become `io.containerd.image.name`. */
export function ociLayoutFiles(
  { blobs, manifest, manifestBytes }: TinyImage,
  names: readonly string[],
): [string, Buffer][] {
  const root = { mediaType: manifest.mediaType, digest: digestOf(manifestBytes), size: manifestBytes.length };
  const manifests = names.map((name) => ({ ...root, annotations: { 'io.containerd.image.name': name } }));
  return [
    ['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
    ['index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }))],
    ...[...blobs].map(([digest, bytes]): [string, Buffer] => [`blobs/sha256/${hexOf(digest)}`, bytes]),
  ];
}
