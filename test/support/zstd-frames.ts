import { zstdCompressSync } from 'node:zlib';

const MIB = 1024 * 1024;

/** zstd frames that unpack to at least `mebibytes`, all zeros after `start`. */
export function zeroFrames(mebibytes: number, start: Buffer = Buffer.alloc(0)): Buffer[] {
  const frameBytes = 64 * MIB;
  const frame = zstdCompressSync(Buffer.alloc(frameBytes));
  const first = zstdCompressSync(Buffer.concat([start, Buffer.alloc(frameBytes - start.length)]));
  return [first, ...Array.from({ length: Math.floor(mebibytes / 64) }, () => frame)];
}

/** A zstd frame that declares a window of 2^`windowLog` bytes and holds `bytes` as they are (RFC 8878, 3.1.1). */
export function zstdOfWindow(windowLog: number, bytes: Buffer): Buffer {
  const maxBlockBytes = 128 * 1024;
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3])];
  for (let start = 0; start < bytes.length; start += maxBlockBytes) {
    const block = bytes.subarray(start, start + maxBlockBytes);
    const isLast = start + maxBlockBytes >= bytes.length;
    const header = Buffer.alloc(3);
    header.writeUIntLE((block.length << 3) | (isLast ? 1 : 0), 0, 3);
    parts.push(header, block);
  }
  return Buffer.concat(parts);
}
