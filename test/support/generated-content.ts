import { createCipheriv, createHash } from 'node:crypto';

const BLOCK_BYTES = 64 * 1024;
const WORDS = Buffer.from('the quick brown fox jumps over the lazy dog, again and again; '.repeat(2048));

/**
 * The same `sizeBytes` bytes for the same seed, everywhere: in every block a random part and a part of repeated text.
 * @param compressible 0 … 1, the text's part; what is random does not compress at all
 */
export function* generatedContent(
  seed: string,
  sizeBytes: number,
  compressible: number,
): Generator<Buffer, void> {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const randomBytes = Math.round(BLOCK_BYTES * (1 - compressible));
  const zeros = Buffer.alloc(randomBytes);
  for (let left = sizeBytes; left > 0; left -= BLOCK_BYTES) {
    const block = Buffer.concat([cipher.update(zeros), WORDS.subarray(0, BLOCK_BYTES - randomBytes)]);
    yield left < BLOCK_BYTES ? block.subarray(0, left) : block;
  }
}
