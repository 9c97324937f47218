/** What a ledger needs of a prom-client metric. */
export interface RemovableMetric {
  remove(labels: Record<string, string>): void;
}

interface Series {
  readonly metric: RemovableMetric;
  readonly labels: Record<string, string>;
  readonly cost: number;
}

/**
 * Counts the time series of a group of metrics, so that labels from the outside (images, peers, routes) can neither
 * grow a scrape beyond a bound nor outlive what they speak of.
 */
export class SeriesLedger {
  private readonly series = new Map<string, Series>();
  private used = 0;

  /** @param maxSeries how many series the group may have, over all its metrics */
  constructor(private readonly maxSeries: number) {}

  get size(): number {
    return this.used;
  }

  /**
   * True if `metric` has, or may now get, a child with these labels.
   * @param cost series that one child exposes: 1, or buckets + 3 for a histogram
   */
  claim(name: string, metric: RemovableMetric, labels: Record<string, string>, cost = 1): boolean {
    const key = keyOf(name, labels);
    if (this.series.has(key)) return true;
    if (this.used + cost > this.maxSeries) return false;
    this.series.set(key, { metric, labels, cost });
    this.used += cost;
    return true;
  }

  /** Takes one child away; an absent one is fine. */
  release(name: string, labels: Record<string, string>): void {
    const key = keyOf(name, labels);
    const series = this.series.get(key);
    if (series) this.drop(key, series);
  }

  /** Takes every child away whose `label` is `value`. */
  forget(label: string, value: string): void {
    for (const [key, series] of this.series) if (series.labels[label] === value) this.drop(key, series);
  }

  private drop(key: string, series: Series): void {
    series.metric.remove(series.labels);
    this.series.delete(key);
    this.used -= series.cost;
  }
}

function keyOf(name: string, labels: Record<string, string>): string {
  return JSON.stringify([name, ...Object.entries(labels)]);
}
