const MIB = 1024 * 1024;
/**
 * The largest blob there may be: 1 TiB, 131,072 chunks. What is kept of each chunk is small, but whoever names a size decides
 * how many there are.
 */
export const MAX_BLOB_BYTES = 1024 * 1024 * MIB;

/** Chunk size of a blob: a function of its size alone, so that every node computes the same. Bytes. */
export function chunkSizeOf(blobSize: number): number {
  if (blobSize <= 256 * MIB) return MIB;
  if (blobSize <= 1024 * MIB) return 2 * MIB;
  if (blobSize <= 4096 * MIB) return 4 * MIB;
  return 8 * MIB;
}

export function chunkCountOf(blobSize: number): number {
  return Math.ceil(blobSize / chunkSizeOf(blobSize));
}

/** First byte and length of chunk `index`; the last one is shorter. */
export function chunkRange(blobSize: number, index: number): { start: number; length: number } {
  const chunkSize = chunkSizeOf(blobSize);
  const start = index * chunkSize;
  return { start, length: Math.min(chunkSize, blobSize - start) };
}

/** The chunk that the bytes `[start, end)` are, no more and no less; undefined when they are something else. */
export function chunkAt(blobSize: number, start: number, end: number): number | undefined {
  const index = start / chunkSizeOf(blobSize);
  if (!Number.isInteger(index) || start < 0 || start >= blobSize) return undefined;
  return end === start + chunkRange(blobSize, index).length ? index : undefined;
}

/** Which chunks of one blob are there: one bit each, the lowest bit of the first byte is chunk 0. */
export class ChunkMap {
  private readonly bits: Uint8Array;
  private count = 0;

  /** @param bits as `toBytes` gives them; what is set beyond `length` is ignored */
  constructor(
    readonly length: number,
    bits?: Uint8Array,
  ) {
    const bytes = Math.ceil(length / 8);
    if (bits && bits.length !== bytes)
      throw new RangeError(`${bits.length} bytes do not hold ${length} chunks`);
    this.bits = bits ? Uint8Array.from(bits) : new Uint8Array(bytes);
    const spare = length & 7;
    if (spare !== 0) this.bits[bytes - 1] = (this.bits[bytes - 1] ?? 0) & ((1 << spare) - 1);
    for (const byte of this.bits) this.count += bitsIn(byte);
  }

  /** All of `length` chunks. */
  static full(length: number): ChunkMap {
    return new ChunkMap(length, new Uint8Array(Math.ceil(length / 8)).fill(0xff));
  }

  has(index: number): boolean {
    return index >= 0 && index < this.length && ((this.bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  add(index: number): void {
    this.assertInside(index);
    if (this.has(index)) return;
    this.bits[index >> 3] = (this.bits[index >> 3] ?? 0) | (1 << (index & 7));
    this.count += 1;
  }

  delete(index: number): void {
    this.assertInside(index);
    if (!this.has(index)) return;
    this.bits[index >> 3] = (this.bits[index >> 3] ?? 0) & ~(1 << (index & 7));
    this.count -= 1;
  }

  /** How many chunks are there. */
  get size(): number {
    return this.count;
  }

  get isFull(): boolean {
    return this.count === this.length;
  }

  /** Adds 1 to `counts[index]` for every chunk that is there. */
  tally(counts: Uint16Array): void {
    for (let byte = 0; byte < this.bits.length; byte += 1) {
      let left = this.bits[byte] ?? 0;
      while (left !== 0) {
        const lowest = left & -left;
        const index = (byte << 3) + 31 - Math.clz32(lowest);
        counts[index] = (counts[index] ?? 0) + 1;
        left ^= lowest;
      }
    }
  }

  /** Whether any chunk is here that is not in `other`, of the same length. */
  hasMoreThan(other: ChunkMap): boolean {
    return this.bits.some((byte, position) => (byte & ~(other.bits[position] ?? 0)) !== 0);
  }

  toBytes(): Uint8Array {
    return Uint8Array.from(this.bits);
  }

  private assertInside(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new RangeError(`chunk ${index} is not one of ${this.length}`);
    }
  }
}

function bitsIn(byte: number): number {
  let count = 0;
  for (let left = byte; left !== 0; left &= left - 1) count += 1;
  return count;
}
