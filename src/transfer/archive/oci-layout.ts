import { type Digest, digestOf } from '../../domain/digest.js';
import {
  type Descriptor,
  type ImageManifest,
  isManifestType,
  parseImageConfig,
  parseManifest,
} from '../../domain/manifest.js';
import type { Platform } from '../../domain/platform.js';
import type { ArchiveManifest, ArchiveRoot } from './archive-content.js';
import { canonicalNames, wholeReference } from './archive-names.js';
import { archiveInvalid, type ArchiveReader, blobPath, readDocument } from './archive-reader.js';

/** Layers that the manifests of one archive may name together. */
export const MAX_ARCHIVE_LAYERS = 16_384;

/**
 * The images of an OCI layout, as its `index.json` names them. Indexes and manifests are checked against their
 * digests here; configs and layers are checked by whoever reads them.
 * @returns undefined when it is no OCI layout
 * @throws PreheatFailure `archive_invalid`, `registry_error`
 */
export async function readOciLayout(
  reader: ArchiveReader,
  signal: AbortSignal,
): Promise<readonly ArchiveRoot[] | undefined> {
  const isLayout =
    (await reader.sizeOf('oci-layout')) !== undefined && (await reader.sizeOf('index.json')) !== undefined;
  if (!isLayout) return undefined;
  const top = parseManifest(await readDocument(reader, 'index.json', signal));
  if (top.kind !== 'index') throw archiveInvalid('index.json is no index');
  const roots: ArchiveRoot[] = [];
  let layers = 0;
  for (const descriptor of top.manifests) {
    if (!isManifestType(descriptor.mediaType)) continue;
    const root = await readRoot(reader, descriptor, signal);
    layers += root.manifests.reduce((sum, manifest) => sum + manifest.layers.length, 0);
    if (layers > MAX_ARCHIVE_LAYERS) throw archiveInvalid(`it names more than ${MAX_ARCHIVE_LAYERS} layers`);
    roots.push(root);
  }
  return roots;
}

async function readRoot(
  reader: ArchiveReader,
  descriptor: Descriptor,
  signal: AbortSignal,
): Promise<ArchiveRoot> {
  const { digest, size, annotations } = descriptor;
  const names = canonicalNames([
    annotations?.['io.containerd.image.name'],
    wholeReference(annotations?.['org.opencontainers.image.ref.name']),
  ]);
  const bytes = await readVerified(reader, digest, signal);
  if (bytes === undefined) throw archiveInvalid(`index.json names ${digest}, which is not there`);
  const document = parseManifest(bytes);
  const root = { digest, size, mediaType: document.mediaType, names };
  if (document.kind === 'manifest') {
    const platform = descriptor.platform ?? (await platformOf(reader, document, signal));
    return { ...root, manifests: [manifestOf(descriptor, document, platform)] };
  }
  const manifests: ArchiveManifest[] = [];
  for (const child of document.manifests) {
    // Of an index, an archive often holds one platform only.
    const childBytes = isManifestType(child.mediaType)
      ? await readVerified(reader, child.digest, signal)
      : undefined;
    const manifest = childBytes && parseManifest(childBytes);
    if (manifest?.kind === 'manifest') manifests.push(manifestOf(child, manifest, child.platform));
  }
  return { ...root, index: document, manifests };
}

function manifestOf(
  { digest, size }: Descriptor,
  { mediaType, config, layers }: ImageManifest,
  platform: Platform | undefined,
): ArchiveManifest {
  return { digest, size, mediaType, config, layers, derived: false, ...(platform ? { platform } : {}) };
}

/** undefined when the config is not there, or is none of an image. */
async function platformOf(
  reader: ArchiveReader,
  { config }: ImageManifest,
  signal: AbortSignal,
): Promise<Platform | undefined> {
  const bytes = await readVerified(reader, config.digest, signal);
  return bytes && parseImageConfig(bytes).platform;
}

async function readVerified(
  reader: ArchiveReader,
  digest: Digest,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const path = blobPath(digest);
  if ((await reader.sizeOf(path)) === undefined) return undefined;
  const bytes = await readDocument(reader, path, signal);
  if (digestOf(bytes) !== digest) throw archiveInvalid(`${path} does not match its digest`);
  return bytes;
}
