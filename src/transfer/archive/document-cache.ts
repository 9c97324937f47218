const MAX_CACHE_BYTES = 16 * 1024 * 1024;
const MAX_DOCUMENT_BYTES = 1024 * 1024;

/** Small files kept from the one pass over a compressed archive, so that reading them needs no pass each. */
export class DocumentCache {
  private readonly documents = new Map<string, Buffer>();
  private freeBytes = MAX_CACHE_BYTES;

  hasRoomFor(sizeBytes: number): boolean {
    return sizeBytes <= Math.min(this.freeBytes, MAX_DOCUMENT_BYTES);
  }

  set(path: string, bytes: Buffer): void {
    // A copy: a slice would keep the whole chunk it was cut from.
    this.documents.set(path, Buffer.from(bytes));
    this.freeBytes -= bytes.length;
  }

  get(path: string): Buffer | undefined {
    return this.documents.get(path);
  }

  clear(): void {
    this.documents.clear();
    this.freeBytes = 0;
  }
}
