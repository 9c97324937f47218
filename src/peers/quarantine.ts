const MAX_ENTRIES = 10_000;

/**
 * Instances that sent wrong bytes for an image: they are not asked for it again. A restarted agent starts afresh.
 * The oldest entries go when there are too many.
 */
export class Quarantine {
  private readonly entries = new Set<string>();

  add(instance: string, image: string): void {
    this.entries.add(keyOf(instance, image));
    const [oldest] = this.entries;
    if (this.entries.size > MAX_ENTRIES && oldest !== undefined) this.entries.delete(oldest);
  }

  has(instance: string, image: string): boolean {
    return this.entries.has(keyOf(instance, image));
  }
}

function keyOf(instance: string, image: string): string {
  return `${instance} ${image}`;
}
