export interface Sample {
  readonly atMs: number;
  readonly value: number;
}

/** How fast a value grows, per millisecond, by least squares; 0 of fewer than two samples. */
export function slopeOf(samples: readonly Sample[]): number {
  const count = samples.length;
  const meanMs = samples.reduce((sum, { atMs }) => sum + atMs, 0) / count;
  const mean = samples.reduce((sum, { value }) => sum + value, 0) / count;
  let above = 0;
  let below = 0;
  for (const { atMs, value } of samples) {
    above += (atMs - meanMs) * (value - mean);
    below += (atMs - meanMs) ** 2;
  }
  return below === 0 || count < 2 ? 0 : above / below;
}
