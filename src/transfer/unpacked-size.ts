/**
 * Of a compressed layer. Measured images unpack to 2.4 times their gzip size; the rest is for the engine's own copies
 * while it unpacks, and for images that compress better.
 */
const UNPACKED_FACTOR = 3;
const COMPRESSED = /(?:gzip|zstd)$/;

/** What a blob of an image takes in a runtime, about, in bytes. */
export function unpackedBytes({ size, mediaType }: { size: number; mediaType: string }): number {
  return COMPRESSED.test(mediaType) ? size * UNPACKED_FACTOR : size;
}
