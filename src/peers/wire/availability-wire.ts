import { z } from 'zod';

import { ChunkMap, chunkCountOf } from '../../domain/chunk-map.js';
import { type Digest, isDigest } from '../../domain/digest.js';
import type { AvailabilityAnswer, BlobAvailability } from '../availability.js';
import { INSTANCE, NODE_NAME } from '../peer-identity.js';

export const AVAILABILITY_PATH = '/peer/v1/availability';
/** Digests in one question; 2,048 of them make 150 KiB. */
export const MAX_DIGESTS = 2048;
/** One entry for each of a few hundred blobs with all chunk hashes stays below this by far. */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_PARTICIPANTS = 64;
const MAX_SWARM = 32;

const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const sizeSchema = z.int().min(0);

/** One blob on the wire. Fields of later versions are ignored. */
const blobSchema = z
  .object({
    size: sizeSchema,
    complete: z.boolean(),
    chunks: z.base64().optional(),
    chunkHashes: z.array(z.string().regex(/^(?:[0-9a-f]{64})?$/)).optional(),
    origin: z.object({ state: z.enum(['claimed', 'reading']), key: z.string().max(64) }).optional(),
    swarm: z.array(z.string().regex(NODE_NAME)).max(MAX_SWARM).optional(),
    derived: z.object({ digest: digestSchema, size: sizeSchema }).optional(),
  })
  .transform((blob, context): BlobAvailability => {
    const { size, complete, chunks, chunkHashes, origin, swarm, derived } = blob;
    const chunkCount = chunkCountOf(size);
    const bits = chunks === undefined ? undefined : Buffer.from(chunks, 'base64');
    const fits =
      (bits === undefined || bits.length === Math.ceil(chunkCount / 8)) &&
      (chunkHashes === undefined || chunkHashes.length === chunkCount);
    if (!fits) {
      context.addIssue({ code: 'custom', message: 'chunks do not fit the size' });
      return z.NEVER;
    }
    return {
      size,
      complete,
      ...(bits ? { chunks: new ChunkMap(chunkCount, bits) } : {}),
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

/** What goes over the wire for `answer`, as a plain object for JSON. */
export function encodeAvailability({
  node,
  instance,
  platform,
  protocol,
  blobs,
  participants,
}: AvailabilityAnswer): object {
  const encoded = [...blobs].map(([digest, blob]) => [
    digest,
    {
      ...blob,
      ...(blob.chunks ? { chunks: Buffer.from(blob.chunks.toBytes()).toString('base64') } : {}),
    },
  ]);
  return { node, instance, platform, protocol, blobs: Object.fromEntries(encoded) as object, participants };
}
