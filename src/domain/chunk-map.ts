const MIB = 1024 * 1024;

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

/** Which chunks of one blob are there: one bit each, the lowest bit of the first byte is chunk 0. */
export class ChunkMap {
  private readonly bits: Uint8Array;

  constructor(
    readonly length: number,
    bits?: Uint8Array,
  ) {
    const bytes = Math.ceil(length / 8);
    if (bits && bits.length !== bytes)
      throw new RangeError(`${bits.length} bytes do not hold ${length} chunks`);
    this.bits = bits ? Uint8Array.from(bits) : new Uint8Array(bytes);
  }

  has(index: number): boolean {
    return index >= 0 && index < this.length && ((this.bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  add(index: number): void {
    this.assertInside(index);
    this.bits[index >> 3] = (this.bits[index >> 3] ?? 0) | (1 << (index & 7));
  }

  delete(index: number): void {
    this.assertInside(index);
    this.bits[index >> 3] = (this.bits[index >> 3] ?? 0) & ~(1 << (index & 7));
  }

  /** How many chunks are there. */
  get size(): number {
    let count = 0;
    for (let index = 0; index < this.length; index += 1) if (this.has(index)) count += 1;
    return count;
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
