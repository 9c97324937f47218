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

/**
 * What loading these blobs takes in a runtime at its peak, about, in bytes. One that knows images by their manifest
 * keeps the blobs beside what it unpacks from them; Docker's classic store downloads them into temporary files, each of
 * which goes when its layer is unpacked: whatever is still waiting takes less than it will unpacked, so that the peak is
 * everything unpacked beside the largest file.
 */
export function loadBytes(
  blobs: readonly { size: number; mediaType: string }[],
  identifiesBy: 'config' | 'manifest',
): number {
  const unpacked = blobs.reduce((sum, blob) => sum + unpackedBytes(blob), 0);
  const sizes = blobs.map(({ size }) => size);
  const kept =
    identifiesBy === 'manifest' ? sizes.reduce((sum, size) => sum + size, 0) : Math.max(0, ...sizes);
  return unpacked + kept;
}
