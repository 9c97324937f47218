import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

import { z } from 'zod';

import { listOf } from '../../domain/bounded-schema.js';
import { type Digest, digestOf } from '../../domain/digest.js';
import { deriveManifest, MEDIA_TYPES, parseImageConfig } from '../../domain/manifest.js';
import type { ArchiveBlob, ArchiveManifest, ArchiveRoot } from './archive-content.js';
import { canonicalNames } from './archive-names.js';
import { archiveInvalid, parseArchiveJson, readDocument } from './archive-reader.js';
import { decompress, expansionLimit, isZlibError, sliceOf } from './decompress.js';
import { MAX_ARCHIVE_LAYERS } from './oci-layout.js';
import type { TarArchive } from './tar-archive.js';

/** Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format". */
const manifestFile = listOf(
  z.object({
    Config: z.string().min(1).max(4096),
    RepoTags: listOf(z.string(), 1024).nullish(),
    Layers: listOf(z.string().min(1).max(4096), 1024),
  }),
  1024,
);

interface DockerArchive {
  readonly roots: readonly ArchiveRoot[];
  readonly blobs: ReadonlyMap<Digest, ArchiveBlob>;
}

/**
 * The images of a docker-archive (`docker save`, `skopeo copy … docker-archive:`). It has no manifests: one is derived from
 * each config, with the layers under their diffIDs. That the layers are what the config says is checked by
 * whoever reads them.
 * @returns undefined when it is no docker-archive
 * @throws PreheatFailure `archive_invalid`, `registry_error`
 */
export async function readDockerArchive(
  tar: TarArchive,
  signal: AbortSignal,
): Promise<DockerArchive | undefined> {
  if ((await tar.sizeOf('manifest.json')) === undefined) return undefined;
  const document = parseArchiveJson(await readDocument(tar, 'manifest.json', signal), 'manifest.json');
  const parsed = manifestFile.safeParse(document);
  if (!parsed.success) throw archiveInvalid('manifest.json is not what docker save writes');
  const layers = parsed.data.reduce((sum, { Layers }) => sum + Layers.length, 0);
  if (layers > MAX_ARCHIVE_LAYERS) throw archiveInvalid(`it names more than ${MAX_ARCHIVE_LAYERS} layers`);

  const roots: ArchiveRoot[] = [];
  const blobs = new Map<Digest, ArchiveBlob>();
  for (const image of parsed.data) {
    const manifest = await deriveImage(tar, image.Config, image.Layers, blobs, signal);
    roots.push({ ...manifest, names: canonicalNames(image.RepoTags ?? []), manifests: [manifest] });
  }
  return { roots, blobs };
}

async function deriveImage(
  tar: TarArchive,
  configPath: string,
  layerPaths: readonly string[],
  blobs: Map<Digest, ArchiveBlob>,
  signal: AbortSignal,
): Promise<ArchiveManifest> {
  const configBytes = await readDocument(tar, configPath, signal);
  const { diffIds, platform } = parseImageConfig(configBytes);
  if (diffIds.length !== layerPaths.length) {
    throw archiveInvalid(
      `${configPath} has ${diffIds.length} layers, manifest.json names ${layerPaths.length}`,
    );
  }
  const config = {
    digest: digestOf(configBytes),
    size: configBytes.length,
    mediaType: MEDIA_TYPES.ociConfig,
  };
  blobs.set(config.digest, fileIn(tar, configPath, config.size));
  const layers = [];
  for (const [position, digest] of diffIds.entries()) {
    const blob = blobs.get(digest) ?? (await layerIn(tar, layerPaths[position] ?? '', digest, signal));
    blobs.set(digest, blob);
    layers.push({ digest, size: blob.size, mediaType: MEDIA_TYPES.ociLayer });
  }
  const bytes = Buffer.from(deriveManifest(config, layers));
  const digest = digestOf(bytes);
  blobs.set(digest, {
    size: bytes.length,
    open: (start) => Promise.resolve(Readable.from([bytes.subarray(start)], { objectMode: false })),
  });
  return {
    digest,
    size: bytes.length,
    mediaType: MEDIA_TYPES.ociManifest,
    config,
    layers,
    derived: true,
    ...(platform ? { platform } : {}),
  };
}

/** The uncompressed layer. Some tools put compressed ones into a docker-archive: those are unpacked on the way. */
async function layerIn(
  tar: TarArchive,
  path: string,
  diffId: Digest,
  signal: AbortSignal,
): Promise<ArchiveBlob> {
  const fileSize = await tar.sizeOf(path);
  if (fileSize === undefined) throw archiveInvalid(`it has no ${path}`);
  const compression = tar.compressionOf(path);
  if (compression === undefined) return fileIn(tar, path, fileSize);

  // Its unpacked size is part of the derived manifest, and known only by unpacking it.
  const unpack = async (abort: AbortSignal): Promise<Readable> =>
    decompress(await tar.open(path, 0, abort), compression);
  const unpacked = await measure(await unpack(signal), expansionLimit(fileSize));
  if (unpacked.digest !== diffId) throw archiveInvalid(`${path} does not match its diffID`);
  return {
    size: unpacked.size,
    open: async (start, abort) => sliceOf(await unpack(abort), start, Math.max(0, unpacked.size - start)),
  };
}

function fileIn(tar: TarArchive, path: string, size: number): ArchiveBlob {
  return { size, open: (start, signal) => tar.open(path, start, signal) };
}

async function measure(stream: Readable, maxBytes: number): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) throw archiveInvalid(`a layer unpacks to more than ${maxBytes} bytes`);
      hash.update(chunk);
    }
  } catch (error) {
    throw isZlibError(error) ? archiveInvalid('a layer does not unpack', error) : error;
  }
  return { digest: `sha256:${hash.digest('hex')}`, size };
}
