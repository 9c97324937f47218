import { z } from 'zod';

import { listOf, plainObject } from '../../domain/bounded-schema.js';
import { ChunkMap, chunkCountOf, MAX_BLOB_BYTES } from '../../domain/chunk-map.js';
import { type Digest, isDigest } from '../../domain/digest.js';
import type { AskedBlob, AvailabilityAnswer, BlobAvailability } from '../availability.js';
import { INSTANCE, NODE_NAME } from '../peer-identity.js';

export const AVAILABILITY_PATH = '/peer/v1/availability';
/** Digests in one question; 2,048 of them make 150 KiB. */
export const MAX_DIGESTS = 2048;
/** Of a question, with the hashes that the caller knows of all its blobs. */
export const MAX_QUESTION_BYTES = 1024 * 1024;
const MAX_PARTICIPANTS = 64;
const MAX_SWARM = 32;
/** Chunks of the largest blob (64 GiB) whose hashes are told one by one: a few bytes must not make whoever reads them take memory for a list of any length. */
const MAX_SPARSE_CHUNKS = 8192;
const CHUNK_HASH = /^[0-9a-f]{64}$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const sizeSchema = z.int().min(0).max(MAX_BLOB_BYTES);

/**
 * One blob on the wire. Fields of later versions are ignored. Nothing whose length follows from the size is looked into
 * before that size is known to be one that was asked about.
 */
const blobSchema = z.object({
  size: sizeSchema,
  complete: z.boolean(),
  chunks: z.string().optional(),
  chunkHashes: z.custom<readonly unknown[]>(Array.isArray).optional(),
  hashes: plainObject.optional(),
  sent: z.string().optional(),
  origin: z.object({ state: z.enum(['claimed', 'reading']), key: z.string().max(64) }).optional(),
  swarm: listOf(z.string().regex(NODE_NAME), MAX_SWARM).optional(),
  derived: z.object({ digest: digestSchema, size: sizeSchema }).optional(),
});

/** The whole answer, with the blobs as they came: `decodeAvailability` reads those that were asked about, and no others. */
export const availabilityAnswerSchema = z.object({
  node: z.string().regex(NODE_NAME),
  instance: z.string().regex(INSTANCE),
  platform: z.string().max(100),
  protocol: z.int().min(1),
  blobs: plainObject,
  participants: listOf(z.string().max(64), MAX_PARTICIPANTS).optional(),
});

/**
 * What an answer says of the blobs that were `asked` about. An entry that does not parse, or is of a larger blob than was
 * asked about, is left out: one that a later version describes otherwise spoils no other.
 */
export function decodeAvailability(
  { blobs, participants = [], ...identity }: z.infer<typeof availabilityAnswerSchema>,
  asked: readonly AskedBlob[],
): AvailabilityAnswer {
  const decoded = asked.flatMap(({ digest, size }): [Digest, BlobAvailability][] => {
    const blob = Object.hasOwn(blobs, digest) ? decodeBlob(blobs[digest], size) : undefined;
    return blob ? [[digest, blob]] : [];
  });
  return { ...identity, blobs: new Map(decoded), participants };
}

function decodeBlob(value: unknown, maxSize: number): BlobAvailability | undefined {
  const { data } = blobSchema.safeParse(value);
  if (!data || data.size > maxSize) return undefined;
  const { size, complete, origin, swarm, derived } = data;
  const chunkCount = chunkCountOf(size);
  const chunks = toChunkMap(data.chunks, chunkCount);
  const sent = toChunkMap(data.sent, chunkCount);
  const chunkHashes = data.hashes
    ? fromSparse(data.hashes, chunkCount)
    : toHashes(data.chunkHashes, chunkCount);
  if (chunks === null || sent === null || chunkHashes === null) return undefined;
  return {
    size,
    complete,
    ...(chunks ? { chunks } : {}),
    ...(sent ? { sent } : {}),
    ...(chunkHashes ? { chunkHashes } : {}),
    ...(origin ? { origin } : {}),
    ...(swarm ? { swarm } : {}),
    ...(derived ? { derived } : {}),
  };
}

/**
 * What goes over the wire for `answer`, as a plain object for JSON. A caller that says which hashes it has is told the
 * others alone, by their chunk; one that does not gets the whole list.
 * @param known per digest, a bitmap in base64, as the caller sent it: what does not parse counts as nothing
 */
export function encodeAvailability(
  { node, instance, platform, protocol, blobs, participants }: AvailabilityAnswer,
  known: Readonly<Record<string, unknown>> | undefined,
): object {
  const encoded = [...blobs].map(([digest, blob]): [string, object] => {
    const { chunks, sent, chunkHashes, ...rest } = blob;
    return [
      digest,
      {
        ...rest,
        ...(chunks ? { chunks: toBase64(chunks) } : {}),
        ...(sent ? { sent: toBase64(sent) } : {}),
        ...encodeHashes(chunkHashes, known?.[digest]),
      },
    ];
  });
  return { node, instance, platform, protocol, blobs: Object.fromEntries(encoded), participants };
}

/** What goes over the wire of the hashes that the caller has, per digest of this question. */
export function encodeKnown(
  known: ReadonlyMap<Digest, ChunkMap>,
  digests: readonly Digest[],
): Record<string, string> {
  const asked = digests.flatMap((digest): [Digest, string][] => {
    const chunks = known.get(digest);
    return chunks ? [[digest, toBase64(chunks)]] : [];
  });
  return Object.fromEntries(asked);
}

function encodeHashes(chunkHashes: readonly string[] | undefined, known: unknown): object {
  if (!chunkHashes) return {};
  const has = typeof known === 'string' ? toChunkMap(known, chunkHashes.length) : undefined;
  if (!has || chunkHashes.length > MAX_SPARSE_CHUNKS) return { chunkHashes };
  const news = [...chunkHashes.entries()].filter(([index, hash]) => hash !== '' && !has.has(index));
  return news.length === 0 ? {} : { hashes: Object.fromEntries(news) };
}

function toBase64(chunks: ChunkMap): string {
  return Buffer.from(chunks.toBytes()).toString('base64');
}

/** Null when `text` does not hold that many chunks. */
function toChunkMap(text: string | undefined, chunkCount: number): ChunkMap | undefined | null {
  if (text === undefined) return undefined;
  const sizeBytes = Math.ceil(chunkCount / 8);
  if (text.length !== 4 * Math.ceil(sizeBytes / 3) || !BASE64.test(text)) return null;
  const bits = Buffer.from(text, 'base64');
  return bits.length === sizeBytes ? new ChunkMap(chunkCount, bits) : null;
}

/** Null when it is no list of the hashes of that many chunks, empty where unknown. */
function toHashes(
  list: readonly unknown[] | undefined,
  chunkCount: number,
): readonly string[] | undefined | null {
  if (list === undefined) return undefined;
  const isHash = (value: unknown): value is string => value === '' || isChunkHash(value);
  return list.length === chunkCount && list.every(isHash) ? list : null;
}

/** Empty where `hashes` names none; null when it names a chunk that there is not, or the blob is too large for this form. */
function fromSparse(hashes: Readonly<Record<string, unknown>>, chunkCount: number): string[] | null {
  const entries = Object.entries(hashes);
  if (chunkCount > MAX_SPARSE_CHUNKS || entries.length > chunkCount) return null;
  const list = Array.from({ length: chunkCount }, () => '');
  for (const [index, hash] of entries) {
    if (!/^\d{1,7}$/.test(index) || Number(index) >= chunkCount || !isChunkHash(hash)) return null;
    list[Number(index)] = hash;
  }
  return list;
}

function isChunkHash(value: unknown): value is string {
  return typeof value === 'string' && CHUNK_HASH.test(value);
}
