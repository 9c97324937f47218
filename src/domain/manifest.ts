import { z } from 'zod';

import { listOf, stringRecord } from './bounded-schema.js';
import { MAX_BLOB_BYTES } from './chunk-map.js';
import { type Digest, isDigest } from './digest.js';
import { messageOf, PreheatFailure } from './errors.js';
import { formatPlatform, type Platform, platformScore } from './platform.js';
import { parseShallowJson } from './shallow-json.js';

/** Manifests above this are refused unread. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const MAX_DESCRIPTORS = 1024;

export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
} as const;
const INDEX_TYPES: readonly string[] = [MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerList];
const MANIFEST_TYPES: readonly string[] = [MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest];

const digest = z.custom<Digest>(
  (value) => typeof value === 'string' && isDigest(value),
  'not a sha256 digest',
);
const descriptor = z.object({
  mediaType: z.string().min(1).max(255),
  digest,
  size: z.number().int().nonnegative().max(MAX_BLOB_BYTES),
  platform: z
    .object({ os: z.string(), architecture: z.string(), variant: z.string().optional() })
    .transform(({ os, architecture, variant }): Platform => ({
      os,
      architecture,
      ...(variant ? { variant } : {}),
    }))
    .optional(),
  annotations: stringRecord.optional(),
});
export type Descriptor = z.infer<typeof descriptor>;

const index = z.object({
  mediaType: z.string().optional(),
  manifests: listOf(descriptor, MAX_DESCRIPTORS),
});
const manifest = z.object({
  mediaType: z.string().optional(),
  config: descriptor,
  layers: listOf(descriptor, MAX_DESCRIPTORS),
});

export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
}
export interface ImageManifest {
  readonly kind: 'manifest';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export function isManifestType(mediaType: string): boolean {
  return INDEX_TYPES.includes(mediaType) || MANIFEST_TYPES.includes(mediaType);
}

/** The media types a registry client accepts, for its `Accept` header. */
export const ACCEPTED_MANIFEST_TYPES: readonly string[] = [...INDEX_TYPES, ...MANIFEST_TYPES];

/**
 * Reads an image index or manifest (OCI, or Docker schema 2). What it is follows from the content alone, because
 * OCI lets `mediaType` be absent and a blob store does not keep headers.
 * @throws PreheatFailure `registry_error` for anything else, Docker schema 1 among it
 */
export function parseManifest(bytes: Uint8Array): ImageIndex | ImageManifest {
  if (bytes.length > MAX_MANIFEST_BYTES)
    throw invalid(`it has ${bytes.length} bytes; at most ${MAX_MANIFEST_BYTES} are accepted`);
  const document = parseJson(bytes);
  if (document === null || typeof document !== 'object') throw invalid('it is not a JSON object');
  const isIndex = 'manifests' in document;
  if (isIndex === 'layers' in document)
    throw invalid(
      'it must have either "manifests" or "config" and "layers" (Docker schema 1 is not supported)',
    );
  if (isIndex) {
    const parsed = check(index, document);
    return { kind: 'index', mediaType: typeOf(parsed.mediaType, INDEX_TYPES), manifests: parsed.manifests };
  }
  const parsed = check(manifest, document);
  return {
    kind: 'manifest',
    mediaType: typeOf(parsed.mediaType, MANIFEST_TYPES),
    config: parsed.config,
    layers: parsed.layers,
  };
}

/**
 * This platform's manifest in an index.
 * @throws PreheatFailure `platform_not_supported`, naming what the index offers
 */
export function selectManifest({ manifests }: ImageIndex, platform: Platform): Descriptor {
  const candidates = manifests.filter((entry) => !isAttestation(entry) && isManifestType(entry.mediaType));
  let best: Descriptor | undefined;
  let bestScore = 0;
  for (const entry of candidates) {
    // An index of one nameless manifest is how some tools wrap a single-platform image.
    const score = entry.platform ? platformScore(platform, entry.platform) : candidates.length === 1 ? 1 : 0;
    if (score > bestScore) [best, bestScore] = [entry, score];
  }
  if (best) return best;
  const offered = candidates.flatMap((entry) => (entry.platform ? [formatPlatform(entry.platform)] : []));
  throw new PreheatFailure(
    'platform_not_supported',
    `the image has no manifest for ${formatPlatform(platform)}; it offers ${offered.slice(0, 10).join(', ') || 'none'}`,
  );
}

/** BuildKit's attestation manifests that speak of `subject`: newer engines pull them together with it. */
export function attestationsOf({ manifests }: ImageIndex, subject: Digest): Descriptor[] {
  return manifests.filter(
    (entry) => isAttestation(entry) && entry.annotations?.['vnd.docker.reference.digest'] === subject,
  );
}

function isAttestation(entry: Descriptor): boolean {
  return entry.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest';
}

const config = z.object({
  rootfs: z.object({ diff_ids: listOf(digest, MAX_DESCRIPTORS) }),
  os: z.string().optional(),
  architecture: z.string().optional(),
  variant: z.string().optional(),
});

/** The diffIDs (digests of the uncompressed layers, base first) and platform of an image config. */
export interface ImageConfig {
  readonly diffIds: readonly Digest[];
  readonly platform?: Platform;
}

/** @throws PreheatFailure `registry_error` */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const { rootfs, os, architecture, variant } = check(config, parseJson(bytes));
  if (!os || !architecture) return { diffIds: rootfs.diff_ids };
  return { diffIds: rootfs.diff_ids, platform: { os, architecture, ...(variant ? { variant } : {}) } };
}

/**
 * The manifest of an image known only by its config and uncompressed layers (a docker-archive, a `docker save`).
 * Deterministic: whoever holds the same config and layers derives the same bytes, and with them the same digest.
 */
export function deriveManifest(
  imageConfig: { digest: Digest; size: number },
  layers: readonly { digest: Digest; size: number }[],
): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: MEDIA_TYPES.ociConfig, digest: imageConfig.digest, size: imageConfig.size },
      layers: layers.map(({ digest: layer, size }) => ({
        mediaType: MEDIA_TYPES.ociLayer,
        digest: layer,
        size,
      })),
    }),
  );
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return parseShallowJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch (cause) {
    throw invalid(messageOf(cause), cause);
  }
}

function check<T>(schema: z.ZodType<T>, document: unknown): T {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown shape'}`);
}

function typeOf(declared: string | undefined, accepted: readonly string[]): string {
  const mediaType = declared ?? accepted[0] ?? '';
  if (!accepted.includes(mediaType))
    throw invalid(`media type "${mediaType.slice(0, 100)}" is not one of ${accepted.join(', ')}`);
  return mediaType;
}

function invalid(why: string, cause?: unknown): PreheatFailure {
  return new PreheatFailure('registry_error', `not a usable image manifest: ${why}`, { cause });
}
