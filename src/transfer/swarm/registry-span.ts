import { type ChunkMap, chunkSizeOf } from '../../domain/chunk-map.js';

/** One request reads this much, unless less is missing: enough to cost nothing, and little enough to share out. Bytes. */
const SPAN_BYTES = 16 * 1024 * 1024;

/** Chunks `[from, to)`. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface SpanQuestion {
  /** Bytes of the blob. */
  readonly size: number;
  readonly mine: ChunkMap;
  /** Chunk `index` is on its way, or can be had from a peer. */
  readonly isElsewhere: (index: number) => boolean;
  /** The source sends whole blobs only: whatever is missing, all the rest has to be read at once. */
  readonly whole: boolean;
}

/** The first run of chunks that nobody has and nobody brings: what to read from the registry next. */
export function nextSpan({ size, mine, isElsewhere, whole }: SpanQuestion): Span | undefined {
  const isMissing = (index: number): boolean => !mine.has(index) && !isElsewhere(index);
  let from = 0;
  while (from < mine.length && !isMissing(from)) from += 1;
  if (from === mine.length) return undefined;
  if (whole) return { from, to: mine.length };
  const most = Math.max(1, Math.floor(SPAN_BYTES / chunkSizeOf(size)));
  let to = from + 1;
  while (to < mine.length && to - from < most && isMissing(to)) to += 1;
  return { from, to };
}
