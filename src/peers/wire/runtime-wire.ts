import { z } from 'zod';

import { listOf, plainObject } from '../../domain/bounded-schema.js';
import { type Digest, isDigest } from '../../domain/digest.js';
import type { RuntimeHolding } from '../runtime-view.js';

export const RUNTIME_PATH = '/peer/v1/runtime';
/** Images in one question. */
export const MAX_IMAGES = 256;
export const MAX_QUESTION_BYTES = 512 * 1024;

const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const holdingSchema = z
  .object({ config: digestSchema.optional(), manifest: digestSchema.optional() })
  .transform(({ config, manifest }): RuntimeHolding => ({
    ...(config ? { config } : {}),
    ...(manifest ? { manifest } : {}),
  }));

/**
 * Those of the images asked about that the node's runtime has. `holdings` came later than `images`: without it, or where an
 * entry does not parse, nothing is known but that the name is there.
 */
export const runtimeAnswerSchema = z
  .object({
    images: listOf(z.string().max(1024), MAX_IMAGES),
    holdings: plainObject.optional(),
  })
  .transform(({ images, holdings }): ReadonlyMap<string, RuntimeHolding> => {
    const parse = (image: string): RuntimeHolding => holdingSchema.safeParse(holdings?.[image]).data ?? {};
    return new Map(images.map((image) => [image, parse(image)]));
  });

/** What goes over the wire, as a plain object for JSON. */
export function encodeRuntimeAnswer(present: ReadonlyMap<string, RuntimeHolding>): object {
  return { images: [...present.keys()], holdings: Object.fromEntries(present) as object };
}
