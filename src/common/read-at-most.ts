/**
 * A small body as a whole. Reading ends, and with it a stream, at the first byte too many.
 * @throws what `tooLong` makes, above `maxBytes`; what the body fails with
 */
export async function readAtMost(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  tooLong: () => Error,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > maxBytes) throw tooLong();
    parts.push(part);
  }
  return Buffer.concat(parts);
}
