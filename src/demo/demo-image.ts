import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

import { pack } from 'tar-stream';

import { digestOf } from '../domain/digest.js';
import { MEDIA_TYPES } from '../domain/manifest.js';
import type { RegistryContent } from './registry/registry-content.js';

const MIB = 1024 * 1024;
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';

export interface DemoImageOptions {
  readonly repository: string;
  readonly tag: string;
  /** Bytes of each layer before compression, base first. */
  readonly layerBytes: readonly number[];
  readonly architecture: string;
}

/** Makes up an image, half of it compressible, and puts it into a registry. @returns bytes of its blobs */
export async function addDemoImage(content: RegistryContent, options: DemoImageOptions): Promise<number> {
  const { repository, tag, architecture } = options;
  const layers = [];
  const diffIds = [];
  for (const [index, sizeBytes] of options.layerBytes.entries()) {
    const tar = await layerTar(`layer-${index}`, sizeBytes);
    const compressed = gzipSync(tar, { level: 1 });
    const { digest, size } = await content.addBlob(repository, chunks(compressed));
    layers.push({ mediaType: LAYER_TYPE, digest, size });
    diffIds.push(digestOf(tar));
  }
  const config = Buffer.from(
    JSON.stringify({ os: 'linux', architecture, config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }),
  );
  const stored = await content.addBlob(repository, chunks(config));
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: MEDIA_TYPES.ociConfig, digest: stored.digest, size: stored.size },
    layers,
  };
  await content.addManifest(repository, tag, Buffer.from(JSON.stringify(manifest)), MEDIA_TYPES.ociManifest);
  return layers.reduce((sum, { size }) => sum + size, stored.size);
}

async function layerTar(name: string, sizeBytes: number): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: `${name}.bin` }, content(name, sizeBytes));
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** The same bytes for the same name: every other MiB looks random, the rest repeats itself. */
function content(name: string, sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes, name);
  for (let offset = 0; offset < sizeBytes; offset += 32) {
    if (Math.floor(offset / MIB) % 2 === 0)
      createHash('sha256').update(`${name} ${offset}`).digest().copy(bytes, offset);
  }
  return bytes;
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += MIB)
    yield await Promise.resolve(bytes.subarray(offset, offset + MIB));
}
