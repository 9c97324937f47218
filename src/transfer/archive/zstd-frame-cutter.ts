import { Transform, type TransformCallback } from 'node:stream';

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const CHECKSUM_BYTES = 4;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const RLE_BLOCK = 1;

/** What comes next: bytes that must be read to know how it goes on, bytes that need not, or nothing that we know. */
type Part =
  | { readonly kind: 'read'; readonly bytes: number; readonly next: (read: Buffer) => Part }
  | { readonly kind: 'pass'; readonly bytes: number; readonly next: Part }
  | { readonly kind: 'end-of-frame' }
  | { readonly kind: 'unknown' };

const END_OF_FRAME: Part = { kind: 'end-of-frame' };

/**
 * Cuts a zstd stream where a frame ends (RFC 8878, 3.1). node:zlib takes what follows a frame in the same chunk for no
 * part of the stream, and ends there; in a chunk of its own it goes on. Programs that pack in parallel write many frames.
 * What is no zstd passes as it is: the decoder says so.
 */
export class ZstdFrameCutter extends Transform {
  private part: Part = magic();
  private passed = 0;
  private head: number[] = [];

  constructor() {
    // As objects, or pieces might be put together again.
    super({ readableObjectMode: true });
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let cut = 0;
    for (let at = 0; at < chunk.length;) {
      at += this.advance(chunk, at);
      if (this.part.kind !== 'end-of-frame') continue;
      this.push(chunk.subarray(cut, at));
      cut = at;
      this.part = magic();
    }
    if (cut < chunk.length) this.push(chunk.subarray(cut));
    done();
  }

  /** @returns bytes of the chunk that are dealt with */
  private advance(chunk: Buffer, at: number): number {
    const { part } = this;
    if (part.kind === 'read') {
      this.head.push(chunk[at] ?? 0);
      if (this.head.length === part.bytes) {
        this.enter(part.next(Buffer.from(this.head)));
        this.head = [];
      }
      return 1;
    }
    if (part.kind !== 'pass') return chunk.length - at;
    const bytes = Math.min(part.bytes - this.passed, chunk.length - at);
    this.passed += bytes;
    if (this.passed === part.bytes) this.enter(part.next);
    return bytes;
  }

  private enter(part: Part): void {
    this.passed = 0;
    this.part = part.kind === 'pass' && part.bytes === 0 ? part.next : part;
  }
}

function magic(): Part {
  return {
    kind: 'read',
    bytes: 4,
    next: (read) => {
      const found = read.readUInt32LE();
      if (found === FRAME_MAGIC)
        return { kind: 'read', bytes: 1, next: ([descriptor = 0]) => header(descriptor) };
      // Its last four bits are anybody's.
      return (found & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC ? skippable() : { kind: 'unknown' };
    },
  };
}

function skippable(): Part {
  const next = (size: Buffer): Part => ({ kind: 'pass', bytes: size.readUInt32LE(), next: END_OF_FRAME });
  return { kind: 'read', bytes: 4, next };
}

/** What is left of the frame's header, by its first byte (3.1.1.1.1). */
function header(descriptor: number): Part {
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const hasChecksum = (descriptor & 0x04) !== 0;
  const windowBytes = isSingleSegment ? 0 : 1;
  const dictionaryIdBytes = DICTIONARY_ID_BYTES[descriptor & 3] ?? 0;
  const sizeFlag = descriptor >> 6;
  const contentSizeBytes = sizeFlag === 0 ? 1 - windowBytes : 2 ** sizeFlag;
  const bytes = windowBytes + dictionaryIdBytes + contentSizeBytes;
  return { kind: 'pass', bytes, next: block(hasChecksum) };
}

function block(hasChecksum: boolean): Part {
  return {
    kind: 'read',
    bytes: 3,
    next: (read) => {
      const found = read.readUIntLE(0, 3);
      const isLast = (found & 1) !== 0;
      const bytes = ((found >> 1) & 3) === RLE_BLOCK ? 1 : found >> 3;
      if (!isLast) return { kind: 'pass', bytes, next: block(hasChecksum) };
      return { kind: 'pass', bytes: bytes + (hasChecksum ? CHECKSUM_BYTES : 0), next: END_OF_FRAME };
    },
  };
}
