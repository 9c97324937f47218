import { createHash } from 'node:crypto';

import { chunkCountOf, ChunkMap, chunkRange } from '../../src/domain/chunk-map.js';
import type { Digest } from '../../src/domain/digest.js';
import type { BlobAvailability } from '../../src/peers/availability.js';
import type { KeyedChance } from './keyed-chance.js';

/** What happens on the way of one answer. */
export type AnswerFault = 'cut' | 'short' | 'stalled' | 'refused' | 'not_found' | 'unreachable' | 'too_long';
export type FaultKind =
  | AnswerFault
  /** Wrong bytes of a chunk, of which the peer names the right hash, or the hash of the wrong bytes. */
  | 'flipped'
  | 'flipped_with_lie'
  | 'wrong_size'
  | 'false_claim'
  | 'registry_error'
  | 'registry_cut'
  | 'registry_flipped'
  | 'lease_lost'
  | 'killed'
  | 'holder_killed'
  | 'restarted'
  | 'damaged_partial';

/**
 * How a node treats those that ask it:
 *
 * - `honest`: as well as its network lets it;
 * - `flipper`: some chunks that it sends are wrong, and not what their hash says;
 * - `liar`: some are wrong, and it names the hash of the wrong bytes;
 * - `boaster`: it says that it has blobs which it has not, or has them in another size.
 */
export type Character = 'honest' | 'flipper' | 'liar' | 'boaster';

/** Anybody's network; none of it makes a node look like a liar. */
const NETWORK_FAULTS: readonly [AnswerFault, ...AnswerFault[]] = [
  'cut',
  'short',
  'stalled',
  'refused',
  'not_found',
  'unreachable',
];

/** Of one run: decides who does what wrong, and counts it. */
export class SwarmFaults {
  readonly counts = new Map<FaultKind, number>();

  /** @param rate of answers of peers, and of the registry, that something happens to */
  constructor(
    private readonly chance: KeyedChance,
    private readonly rate: number,
    private readonly blobs: ReadonlyMap<Digest, Buffer>,
  ) {}

  note(kind: FaultKind): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  /** What happens to an answer to a question about what somebody has. */
  ofQuestion(from: string, to: string): AnswerFault | undefined {
    const turn = this.chance.turn('question', from, to);
    if (!this.chance.hits(this.rate / 4, 'question', from, to, turn)) return undefined;
    return this.noted(this.chance.pick(['unreachable', 'stalled'], 'which', from, to, turn));
  }

  /** What happens to an answer that carries bytes. */
  ofBytes(from: string, character: Character, to: string, key: string): AnswerFault | undefined {
    const turn = this.chance.turn('bytes', from, to, key);
    const name = ['bytes', from, to, key, turn] as const;
    if (!this.chance.hits(this.rate, ...name)) return undefined;
    if (character === 'flipper' && this.chance.hits(0.5, 'long', ...name)) return this.noted('too_long');
    return this.noted(this.chance.pick(NETWORK_FAULTS, 'which', ...name));
  }

  ofRegistry(key: string): 'registry_error' | 'registry_cut' | undefined {
    const turn = this.chance.turn('registry', key);
    if (!this.chance.hits(this.rate, 'registry', key, turn)) return undefined;
    return this.chance.pick(['registry_error', 'registry_cut'], 'which', key, turn);
  }

  /** After how many of `bytes` a stream that breaks off does so. */
  breakAt(bytes: number, key: string): number {
    return this.chance.whole(bytes, 'break', key, this.chance.turn('break', key));
  }

  /** Byte of the chunk at which this node's copy differs from what it should be; undefined where it does not. */
  wrongByteOf(node: string, character: Character, digest: Digest, index: number): number | undefined {
    const size = this.blobs.get(digest)?.length ?? 0;
    if (character === 'flipper') {
      // Not each time: whoever tests it once must not be safe from it.
      const turn = this.chance.turn('flip', node, digest, index);
      if (!this.chance.hits(0.4, 'flip', node, digest, index, turn)) return undefined;
    } else if (character !== 'liar' || !this.chance.hits(0.5, 'lie', node, digest, index)) return undefined;
    return this.chance.whole(chunkRange(size, index).length, 'wrong byte', node, digest, index);
  }

  /** What a node says of a blob, of which `truth` is what it has. */
  told(
    node: string,
    character: Character,
    digest: Digest,
    truth: BlobAvailability | undefined,
  ): BlobAvailability | undefined {
    if (character === 'liar' && truth?.chunkHashes)
      return this.withLies(node, digest, truth, truth.chunkHashes);
    const bytes = this.blobs.get(digest);
    if (character !== 'boaster' || !bytes) return truth;
    if (truth && this.chance.hits(0.3, 'size', node, digest)) {
      this.note('wrong_size');
      return { size: truth.size + 1, complete: true };
    }
    if (truth?.complete || !this.chance.hits(0.7, 'boast', node, digest)) return truth;
    this.note('false_claim');
    const { length: size } = bytes;
    if (this.chance.hits(0.5, 'boast of all', node, digest)) return { size, complete: true };
    return { size, complete: false, chunks: ChunkMap.full(chunkCountOf(size)) };
  }

  private withLies(
    node: string,
    digest: Digest,
    truth: BlobAvailability,
    hashes: readonly string[],
  ): BlobAvailability {
    const chunkHashes = hashes.map((hash, index) => {
      const at = this.wrongByteOf(node, 'liar', digest, index);
      const bytes = this.blobs.get(digest);
      if (hash === '' || at === undefined || !bytes) return hash;
      const { start, length } = chunkRange(bytes.length, index);
      const wrong = Buffer.from(bytes.subarray(start, start + length));
      wrong[at] = flipped(wrong[at]);
      return createHash('sha256').update(wrong).digest('hex');
    });
    return { ...truth, chunkHashes };
  }

  private noted(kind: AnswerFault): AnswerFault {
    this.note(kind);
    return kind;
  }
}

/** Another byte than `byte`. */
export function flipped(byte: number | undefined): number {
  return (byte ?? 0) ^ 0x5a;
}
