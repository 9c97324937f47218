/**
 * T_LB: the soonest that the last of `nodes` can have an image of so many chunks, in milliseconds. One node reads the
 * registry, every link carries the same each way, and nothing is sent twice over the same one.
 */
export function transferBoundMs(
  nodes: number,
  { bytes, chunks }: { readonly bytes: number; readonly chunks: number },
  bytesPerSecond: number,
): number {
  const hops = 1 + Math.floor(Math.log2(nodes - 1));
  return (bytes / bytesPerSecond) * (1 + hops / chunks) * 1000;
}
