import { type Digest, hexOf } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { formatReference, parseImageReference, repositoryName } from '../../domain/image-reference.js';
import {
  attestationsOf,
  type ImageIndex,
  type ImageManifest,
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  parseManifest,
  selectManifest,
} from '../../domain/manifest.js';
import type { Platform } from '../../domain/platform.js';

/** Complete, verified blobs by digest: the part of the blob store that a tar is made of. */
export interface StoredBlobs {
  /** In bytes; undefined unless the blob is complete. */
  sizeOf(digest: Digest): Promise<number | undefined>;
  readBytes(digest: Digest, maxBytes: number): Promise<Buffer | undefined>;
}

/** The files of an image tar, in order; sizes in bytes. */
export type ImageTarFile =
  | { readonly path: string; readonly sizeBytes: number; readonly bytes: Buffer }
  | { readonly path: string; readonly sizeBytes: number; readonly digest: Digest };

/**
 * What goes into the tar of the image `name` (canonical) whose reference means `root`: docker's `manifest.json` for
 * the classic store of Docker, an OCI layout for everyone else. The same blobs give the same plan, byte for byte.
 * @throws PreheatFailure `no_source` when the store has not all of it, `platform_not_supported`
 */
export async function planImageTar(
  name: string,
  platform: Platform,
  root: Digest,
  store: StoredBlobs,
): Promise<readonly ImageTarFile[]> {
  const rootBytes = await documentOf(store, root);
  const rootDocument = parseManifest(rootBytes);
  const blobs = new Map<Digest, number>([[root, rootBytes.length]]);
  let manifest: ImageManifest;
  if (rootDocument.kind === 'manifest') {
    manifest = rootDocument;
  } else {
    const { digest } = selectManifest(rootDocument, platform);
    manifest = await manifestOf(store, digest, blobs);
    await addAttestations(store, rootDocument, digest, blobs);
  }
  for (const { digest } of [manifest.config, ...manifest.layers]) await add(store, digest, blobs);

  const named = namesOf(name);
  return [
    document('oci-layout', { imageLayoutVersion: '1.0.0' }),
    document('index.json', {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [
        {
          // The reference's own digest, index or not: the image's id on containerd and on Docker's containerd store, so
          // it must be what a pull gives. Both take an index of which only their own platform is there (measured: containerd
          // 1.6.20, Docker 26.1.5 and 28.5.2).
          mediaType: rootDocument.mediaType,
          digest: root,
          size: rootBytes.length,
          annotations: named.annotations,
        },
      ],
    }),
    document('manifest.json', [
      {
        Config: blobPath(manifest.config.digest),
        RepoTags: named.repoTags,
        Layers: manifest.layers.map(({ digest }) => blobPath(digest)),
      },
    ]),
    ...[...blobs].map(([digest, sizeBytes]) => ({ path: blobPath(digest), sizeBytes, digest })),
  ];
}

/**
 * containerd, and Docker's containerd store, name an image by `io.containerd.image.name`; the OCI annotation holds the
 * tag alone, as Docker writes it. Docker's classic store takes tags only: an image known by digest comes in nameless.
 */
function namesOf(name: string): { repoTags: string[] | null; annotations: Record<string, string> } {
  const reference = parseImageReference(name);
  const { tag } = reference;
  const canonical = formatReference(reference);
  if (tag === undefined) return { repoTags: null, annotations: { 'io.containerd.image.name': canonical } };
  const tagged = `${repositoryName(reference)}:${tag}`;
  // `name:tag@digest` never creates the tag.
  if (reference.digest !== undefined) {
    return {
      repoTags: null,
      annotations: { 'io.containerd.image.name': `${repositoryName(reference)}@${reference.digest}` },
    };
  }
  return {
    repoTags: [tagged],
    annotations: { 'io.containerd.image.name': tagged, 'org.opencontainers.image.ref.name': tag },
  };
}

async function manifestOf(
  store: StoredBlobs,
  digest: Digest,
  blobs: Map<Digest, number>,
): Promise<ImageManifest> {
  const bytes = await documentOf(store, digest);
  const manifest = parseManifest(bytes);
  if (manifest.kind !== 'manifest')
    throw new PreheatFailure('registry_error', `${digest} is an index in an index`);
  blobs.set(digest, bytes.length);
  return manifest;
}

/** What is there of them: receivers do without. */
async function addAttestations(
  store: StoredBlobs,
  index: ImageIndex,
  subject: Digest,
  blobs: Map<Digest, number>,
): Promise<void> {
  for (const { digest } of attestationsOf(index, subject)) {
    if ((await store.sizeOf(digest)) === undefined) continue;
    const attestation = await manifestOf(store, digest, blobs);
    for (const part of [attestation.config, ...attestation.layers]) {
      const sizeBytes = await store.sizeOf(part.digest);
      if (sizeBytes !== undefined) blobs.set(part.digest, sizeBytes);
    }
  }
}

async function add(store: StoredBlobs, digest: Digest, blobs: Map<Digest, number>): Promise<void> {
  const sizeBytes = await store.sizeOf(digest);
  if (sizeBytes === undefined) throw missing(digest);
  blobs.set(digest, sizeBytes);
}

async function documentOf(store: StoredBlobs, digest: Digest): Promise<Buffer> {
  const bytes = await store.readBytes(digest, MAX_MANIFEST_BYTES);
  if (bytes === undefined) throw missing(digest);
  return bytes;
}

function missing(digest: Digest): PreheatFailure {
  return new PreheatFailure('no_source', `the store has no complete blob ${digest}`);
}

function document(path: string, content: unknown): ImageTarFile {
  const bytes = Buffer.from(JSON.stringify(content));
  return { path, sizeBytes: bytes.length, bytes };
}

function blobPath(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}
