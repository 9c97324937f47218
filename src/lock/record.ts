import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

import { z } from 'zod';

import { type Digest, isDigest } from '../domain/digest.js';
import { messageOf, PreheatFailure } from '../domain/errors.js';
import { parseShallowJson } from '../domain/shallow-json.js';

/** The only version of records that this program writes. */
export const RECORD_VERSION = 1 as const;
/** What this program writes at most; what a newer one has written may be longer. */
export const MAX_RECORD_BYTES = 512;
/**
 * Read at most, characters. No version that could share this one's number is known to write an eighth of it, and what
 * is longer may be nested so deep that it can be read, but not written again.
 */
const MAX_READ_LENGTH = 8 * MAX_RECORD_BYTES;
/** Read at most, of a record of any version: each of them is walked, of a text that may fill a ConfigMap. */
const MAX_READ_VALUES = 10_000;
/** HMAC-SHA256 cut to 128 bits (RFC 2104, section 5), in base64url: every byte of a record is dear. */
const MAC_BYTES = 16;
const MAC_MEMBER = /^(.+),"mac":"([\w-]{22})"\}$/s;
/** Longer node names stand in records as a prefix and a hash. */
const MAX_NODE_LENGTH = 63;

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
// Loose at every level, and open where words come from a list: during a rollout newer agents write what this one does
// not know, and it is carried along unread.
const holderSchema = z.looseObject({
  node: z.string().min(1),
  instance: z.string().min(1),
  address: z.string(),
  /** Rises with every acquisition: with the instance it names one lease. */
  term: count,
  /** Rises with every write of this lease, so that no text of a record ever comes back. */
  renewals: count,
});
const failureSchema = z.looseObject({
  /** A `FailureReason`, of this version or a later one. */
  code: z.string().min(1),
  /** Attempts that failed since the last success. */
  attempt: count.min(1),
  /** Counted by everyone from when they first saw this failure. */
  retryAfterMs: z.number().nonnegative(),
});
const recordSchema = z.looseObject({
  v: z.literal(RECORD_VERSION),
  /** For people, and cut where a record would grow too long: the record's key is what counts. */
  image: z.string(),
  platform: z.string(),
  /** What the tag names: an index, where there is one. */
  digest: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)).optional(),
  /** A `RecordOrigin`, of this version or a later one. */
  origin: z.string().min(1).optional(),
  /**
   * Seconds since the Unix epoch, by the clock of the node that resolved the tag; more than in any text of the record that
   * it has seen before.
   */
  resolvedAt: z.number().nonnegative().optional(),
  holder: holderSchema.optional(),
  failure: failureSchema.optional(),
});
/** All that records of every version have in common. */
const versionedSchema = z.looseObject({ v: z.union([z.number(), z.string()]) });

/** What the cluster knows of one image on one platform. */
export type LockRecord = z.infer<typeof recordSchema>;
export type RecordHolder = z.infer<typeof holderSchema>;
export type RecordFailure = z.infer<typeof failureSchema>;
/** Who said what the tag means. */
export type RecordOrigin = 'registry' | 'archive';

export type DecodedRecord =
  | { readonly kind: 'record'; readonly record: LockRecord }
  /** Of another version, or of a shape that only a later one can have given it: counts as held, is never rewritten. */
  | { readonly kind: 'unknown-version' }
  /**
   * Broken, or without a right MAC: counts as absent. `why` is safe to log. `holder` is who it claims to be held by:
   * somebody with another key than ours, or nobody.
   */
  | { readonly kind: 'untrusted'; readonly why: string; readonly holder?: RecordHolder };

/**
 * Reads the record under `recordKey`.
 * @param macKeys any of them may have made its MAC; undefined: MACs are not looked at
 */
export function decodeRecord(
  recordKey: string,
  text: string,
  macKeys: readonly Buffer[] | undefined,
): DecodedRecord {
  let document: unknown;
  try {
    document = parseShallowJson(text, MAX_READ_VALUES);
  } catch (error) {
    return { kind: 'untrusted', why: messageOf(error) };
  }
  // The version comes first: how a newer one is authenticated, and how long it is, is not for us to know.
  const versioned = versionedSchema.safeParse(document);
  if (versioned.success && versioned.data.v !== RECORD_VERSION) return { kind: 'unknown-version' };
  const parsed = recordSchema.safeParse(document);
  if (macKeys && !macKeys.some((macKey) => hasRightMac(recordKey, text, macKey))) {
    const holder = parsed.data?.holder;
    return { kind: 'untrusted', why: 'wrong MAC', ...(holder && { holder }) };
  }
  const isTooLong = text.length > MAX_READ_LENGTH;
  if (parsed.success && !isTooLong) return { kind: 'record', record: parsed.data };
  // Whoever made this MAC is an agent of the deployment, and knows what it has written.
  if (macKeys) return { kind: 'unknown-version' };
  if (isTooLong) return { kind: 'untrusted', why: `it has ${text.length} characters, and agents write few` };
  const path = parsed.error?.issues[0]?.path.join('.');
  return { kind: 'untrusted', why: `not a record${path ? `: ${path}` : ''}` };
}

/**
 * The text of a record, at most 512 bytes: the image's name is cut when it must be. The MAC is the last member and
 * covers the record's key and all bytes before it, those of unknown members too.
 * @throws PreheatFailure `lock_full` when it cannot be made to fit
 */
export function encodeRecord(recordKey: string, record: LockRecord, macKey: Buffer | undefined): string {
  const members: LockRecord = { ...record };
  delete members['mac'];
  let text = seal(recordKey, members, macKey);
  let excess = Buffer.byteLength(text) - MAX_RECORD_BYTES;
  for (let image = record.image; excess > 0 && image !== '';) {
    // References are ASCII: one character, one byte.
    image = image.slice(0, Math.max(0, image.length - excess));
    text = seal(recordKey, { ...members, image }, macKey);
    excess = Buffer.byteLength(text) - MAX_RECORD_BYTES;
  }
  if (excess > 0)
    throw new PreheatFailure(
      'lock_full',
      `the record of ${record.image} would have ${MAX_RECORD_BYTES + excess} bytes; at most ${MAX_RECORD_BYTES} are kept`,
    );
  return text;
}

/** The record with a failure that nobody waits out any more; it still counts among the attempts. */
export function waitedOut(record: LockRecord): LockRecord {
  return record.failure ? { ...record, failure: { ...record.failure, retryAfterMs: 0 } } : record;
}

/** A node's name as it stands in records. */
export function recordNodeName(node: string): string {
  if (node.length <= MAX_NODE_LENGTH) return node;
  const hash = createHash('sha256').update(node).digest('hex').slice(0, 16);
  return `${node.slice(0, MAX_NODE_LENGTH - 17)}~${hash}`;
}

function seal(recordKey: string, members: object, macKey: Buffer | undefined): string {
  const body = JSON.stringify(members);
  if (!macKey) return body;
  const opened = body.slice(0, -1);
  return `${opened},"mac":"${macOf(recordKey, opened, macKey).toString('base64url')}"}`;
}

function hasRightMac(recordKey: string, text: string, macKey: Buffer): boolean {
  const [, opened, mac] = MAC_MEMBER.exec(text) ?? [];
  if (opened === undefined || mac === undefined) return false;
  // As text: 22 characters have four bits more than 16 bytes, so several texts decode to the same bytes.
  const right = macOf(recordKey, opened, macKey).toString('base64url');
  return mac.length === right.length && timingSafeEqual(Buffer.from(mac), Buffer.from(right));
}

function macOf(recordKey: string, opened: string, macKey: Buffer): Buffer {
  return createHmac('sha256', macKey)
    .update(`image-preheat record\n${recordKey}\n${opened}`)
    .digest()
    .subarray(0, MAC_BYTES);
}
