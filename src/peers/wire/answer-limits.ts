import { chunkCountOf } from '../../domain/chunk-map.js';
import type { AskedBlob } from '../availability.js';

/** What is read of a peer's answer at most: more than an honest one to the same question has. */
export interface AnswerLimits {
  readonly maxBytes: number;
  /** Lists, objects and what is in them, all together. */
  readonly maxValues: number;
}

/** Who answers, and 64 participants. */
const BASE: AnswerLimits = { maxBytes: 8 * 1024, maxValues: 256 };
/** All that is said of a blob but its chunks; most of it are the names of 32 nodes, of 253 characters each. */
const PER_BLOB: AnswerLimits = { maxBytes: 10 * 1024, maxValues: 128 };
/** `"8191":"<64 hex digits>",`, and a bit in each of two bitmaps in base64. */
const PER_CHUNK: AnswerLimits = { maxBytes: 80, maxValues: 1 };
/** An image's name, twice, and two digests. */
const PER_IMAGE: AnswerLimits = { maxBytes: 4 * 1024, maxValues: 16 };
/** A question is parted rather than that its answer may be longer than this, unless a single blob has that many chunks. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;

/** Of a hello's: two proofs and who it is; they have a few hundred bytes. */
export const HELLO_LIMITS: AnswerLimits = { maxBytes: 16 * 1024, maxValues: 256 };

export function runtimeLimits(imageCount: number): AnswerLimits {
  return sum(BASE, times(PER_IMAGE, imageCount));
}

export function availabilityLimits(blobs: readonly AskedBlob[]): AnswerLimits {
  return blobs.reduce((limits, blob) => sum(limits, limitsOf(blob)), BASE);
}

/** `blobs` in as many questions as keep each answer small: of 200 blobs, or of fewer with many chunks. */
export function questionsOf(blobs: readonly AskedBlob[]): AskedBlob[][] {
  const questions: AskedBlob[][] = [];
  let bytesLeft = 0;
  for (const blob of blobs) {
    const { maxBytes } = limitsOf(blob);
    let question = questions.at(-1);
    if (!question || maxBytes > bytesLeft) {
      questions.push((question = []));
      bytesLeft = MAX_ANSWER_BYTES;
    }
    question.push(blob);
    bytesLeft -= maxBytes;
  }
  return questions;
}

function limitsOf({ size }: AskedBlob): AnswerLimits {
  return sum(PER_BLOB, times(PER_CHUNK, chunkCountOf(size)));
}

function sum(one: AnswerLimits, other: AnswerLimits): AnswerLimits {
  return { maxBytes: one.maxBytes + other.maxBytes, maxValues: one.maxValues + other.maxValues };
}

function times({ maxBytes, maxValues }: AnswerLimits, count: number): AnswerLimits {
  return { maxBytes: maxBytes * count, maxValues: maxValues * count };
}
