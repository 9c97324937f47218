import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, link, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';

import { pack } from 'tar-stream';

import { hexOf } from '../../src/domain/digest.js';
import type { BuiltImage } from './image-builder.js';
import type { Compression } from './layer-builder.js';

const LAYOUT = JSON.stringify({ imageLayoutVersion: '1.0.0' });

/** Writes what `docker save` writes for a single image: `manifest.json`, the config, uncompressed layers. */
export async function writeDockerArchive(
  image: BuiltImage,
  path: string,
  repoTags: readonly string[],
): Promise<void> {
  const [single] = image.images;
  if (!single) throw new Error('the index names no image');
  const file = (hex: string): string => join(image.directory, hex);
  const configName = `${hexOf(single.config.digest)}.json`;
  const layerNames = single.layers.map(({ diffId }) => `${hexOf(diffId)}/layer.tar`);
  await writeTar(path, async (add) => {
    for (const [index, layer] of single.layers.entries()) {
      if (layerNames.indexOf(layerNames[index]!) !== index) continue; // the same layer twice
      const source = createReadStream(file(hexOf(layer.digest)));
      await add(layerNames[index]!, layer.diffSize, source, decompressor(layer.compression));
    }
    const config = await readFile(file(hexOf(single.config.digest)));
    await add(configName, config.length, config);
    const manifest = Buffer.from(
      JSON.stringify([{ Config: configName, RepoTags: repoTags, Layers: layerNames }]),
    );
    await add('manifest.json', manifest.length, manifest);
  });
}

/** Writes an OCI layout as a tar. `names` become `org.opencontainers.image.ref.name`. */
export async function writeOciArchive(
  image: BuiltImage,
  path: string,
  names: readonly string[],
): Promise<void> {
  const index = Buffer.from(layoutIndex(image, names));
  await writeTar(path, async (add) => {
    await add('oci-layout', LAYOUT.length, Buffer.from(LAYOUT));
    await add('index.json', index.length, index);
    for (const { digest, size } of image.blobs) {
      await add(
        `blobs/sha256/${hexOf(digest)}`,
        size,
        createReadStream(join(image.directory, hexOf(digest))),
      );
    }
  });
}

/** Writes an OCI layout directory, hard-linking blobs where it can. */
export async function writeOciLayout(
  image: BuiltImage,
  directory: string,
  names: readonly string[],
): Promise<void> {
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  for (const { digest } of image.blobs) {
    const from = join(image.directory, hexOf(digest));
    const to = join(blobs, hexOf(digest));
    await link(from, to).catch(() => copyFile(from, to));
  }
  await writeFile(join(directory, 'oci-layout'), LAYOUT);
  await writeFile(join(directory, 'index.json'), layoutIndex(image, names));
}

function layoutIndex({ root }: BuiltImage, names: readonly string[]): string {
  return JSON.stringify({
    schemaVersion: 2,
    manifests: names.map((name) => ({
      ...root,
      annotations: { 'org.opencontainers.image.ref.name': name },
    })),
  });
}

type Add = (name: string, size: number, content: Buffer | Readable, through?: Transform) => Promise<void>;

/** A tar of entries that `fill` adds one after the other. */
async function writeTar(path: string, fill: (add: Add) => Promise<void>): Promise<void> {
  const tar = pack();
  const add: Add = async (name, size, content, through = new PassThrough()) => {
    const entry = tar.entry({ name, size, mode: 0o644, mtime: new Date(0) });
    const source = Buffer.isBuffer(content) ? [content] : content;
    await pipeline(source, through, entry);
  };
  const written = pipeline(tar as unknown as NodeJS.ReadableStream, createWriteStream(path));
  await Promise.all([written, fill(add).then(() => tar.finalize())]);
}

function decompressor(compression: Compression): Transform {
  if (compression === 'gzip') return createGunzip();
  return compression === 'zstd' ? createZstdDecompress() : new PassThrough();
}
