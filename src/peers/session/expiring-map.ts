/**
 * A map whose entries all live equally long and are at most `maxSize`: the oldest goes first. Old entries are dropped
 * when others are added, so it needs no timer.
 */
export class ExpiringMap<V> {
  private readonly entries = new Map<string, { readonly value: V; readonly expiresMs: number }>();

  constructor(
    private readonly lifetimeMs: number,
    private readonly maxSize: number,
    private readonly nowMs: () => number,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  set(key: string, value: V): void {
    this.entries.delete(key);
    this.entries.set(key, { value, expiresMs: this.nowMs() + this.lifetimeMs });
    this.trim();
  }

  get(key: string): V | undefined {
    const entry = this.entries.get(key);
    return entry && entry.expiresMs > this.nowMs() ? entry.value : undefined;
  }

  /** Takes the entry out. */
  take(key: string): V | undefined {
    const value = this.get(key);
    this.entries.delete(key);
    return value;
  }

  /** Insertion order is order of age. */
  private trim(): void {
    for (const [key, { expiresMs }] of this.entries) {
      if (expiresMs > this.nowMs() && this.entries.size <= this.maxSize) return;
      this.entries.delete(key);
    }
  }
}
