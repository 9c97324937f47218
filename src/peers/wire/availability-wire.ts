import { z } from 'zod';

import { ChunkMap, chunkCountOf, MAX_BLOB_BYTES } from '../../domain/chunk-map.js';
import { type Digest, isDigest } from '../../domain/digest.js';
import type { AvailabilityAnswer, BlobAvailability } from '../availability.js';
import { INSTANCE, NODE_NAME } from '../peer-identity.js';

export const AVAILABILITY_PATH = '/peer/v1/availability';
/** Digests in one question; 2,048 of them make 150 KiB. */
export const MAX_DIGESTS = 2048;
/** Of a question, with the hashes that the caller knows of all its blobs. */
export const MAX_QUESTION_BYTES = 1024 * 1024;
/** One entry for each of a few hundred blobs with all chunk hashes stays below this by far. */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_PARTICIPANTS = 64;
const MAX_SWARM = 32;
/** Chunks of the largest blob (64 GiB) whose hashes are told one by one: a few bytes must not make whoever reads them take memory for a list of any length. */
const MAX_SPARSE_CHUNKS = 8192;

const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const sizeSchema = z.int().min(0).max(MAX_BLOB_BYTES);

/** One blob on the wire. Fields of later versions are ignored. */
const blobSchema = z
  .object({
    size: sizeSchema,
    complete: z.boolean(),
    chunks: z.base64().optional(),
    chunkHashes: z.array(z.string().regex(/^(?:[0-9a-f]{64})?$/)).optional(),
    hashes: z.record(z.string().regex(/^\d{1,7}$/), z.string().regex(/^[0-9a-f]{64}$/)).optional(),
    sent: z.base64().optional(),
    origin: z.object({ state: z.enum(['claimed', 'reading']), key: z.string().max(64) }).optional(),
    swarm: z.array(z.string().regex(NODE_NAME)).max(MAX_SWARM).optional(),
    derived: z.object({ digest: digestSchema, size: sizeSchema }).optional(),
  })
  .transform((blob, context): BlobAvailability => {
    const { size, complete, origin, swarm, derived } = blob;
    const chunkCount = chunkCountOf(size);
    const chunks = toChunkMap(blob.chunks, chunkCount);
    const sent = toChunkMap(blob.sent, chunkCount);
    const chunkHashes = blob.hashes ? toList(blob.hashes, chunkCount) : blob.chunkHashes;
    const fits =
      chunks !== null &&
      sent !== null &&
      chunkHashes !== null &&
      (chunkHashes?.length ?? chunkCount) === chunkCount;
    if (!fits) {
      context.addIssue({ code: 'custom', message: 'chunks do not fit the size' });
      return z.NEVER;
    }
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
  });

/** The whole answer. An entry that does not parse is left out: one blob that a later version describes otherwise spoils no other. */
export const availabilityAnswerSchema = z
  .object({
    node: z.string().regex(NODE_NAME),
    instance: z.string().regex(INSTANCE),
    platform: z.string().max(100),
    protocol: z.int().min(1),
    blobs: z.record(z.string(), z.unknown()),
    participants: z.array(z.string().max(64)).max(MAX_PARTICIPANTS).optional(),
  })
  .transform(({ node, instance, platform, protocol, blobs, participants }): AvailabilityAnswer => {
    const parsed = new Map<Digest, BlobAvailability>();
    for (const [digest, value] of Object.entries(blobs)) {
      const blob = blobSchema.safeParse(value);
      if (isDigest(digest) && blob.success) parsed.set(digest, blob.data);
    }
    return { node, instance, platform, protocol, blobs: parsed, participants: participants ?? [] };
  });

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
  const bits = Buffer.from(text, 'base64');
  return bits.length === Math.ceil(chunkCount / 8) ? new ChunkMap(chunkCount, bits) : null;
}

/** Empty where `hashes` names none; null when it names a chunk that there is not, or the blob is too large for this form. */
function toList(hashes: Readonly<Record<string, string>>, chunkCount: number): string[] | null {
  const entries = Object.entries(hashes);
  if (chunkCount > MAX_SPARSE_CHUNKS || entries.some(([index]) => Number(index) >= chunkCount)) return null;
  const list = Array.from({ length: chunkCount }, () => '');
  for (const [index, hash] of entries) list[Number(index)] = hash;
  return list;
}
