import type { Digest } from '../../domain/digest.js';

/** One request, as it was answered. */
export interface LedgerEntry {
  /** Which of the registry's listeners got it: the API (with its token service), or the storage that blobs redirect to. */
  readonly server: 'registry' | 'storage';
  /** The address that it came from; undefined when its connection was gone at once. */
  readonly client: string | undefined;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly range: string | undefined;
  /** Scheme of the `Authorization` header, lower case; the credential itself is not kept. */
  readonly authorization: string | undefined;
  /** Undefined until it is answered, and for ever when it is not. */
  status: number | undefined;
}

const MAX_ENTRIES = 10_000;

/** What a registry was asked and what it sent: the other side of "once per cluster". */
export class TrafficLedger {
  private entries: LedgerEntry[] = [];
  private bytes = new Map<Digest, number>();

  /** Of the body, for GET; the newest 10,000 requests. */
  get requests(): readonly LedgerEntry[] {
    return this.entries;
  }

  /** Body bytes sent per blob. Manifests are not blobs here. */
  get blobBytes(): ReadonlyMap<Digest, number> {
    return this.bytes;
  }

  /** Requests whose `METHOD path` matches. */
  count(pattern: RegExp): number {
    return this.entries.filter(({ method, path }) => pattern.test(`${method} ${path}`)).length;
  }

  record(entry: LedgerEntry): void {
    this.entries.push(entry);
    if (this.entries.length > MAX_ENTRIES) this.entries.shift();
  }

  sent(digest: Digest, bytes: number): void {
    this.bytes.set(digest, (this.bytes.get(digest) ?? 0) + bytes);
  }

  clear(): void {
    this.entries = [];
    this.bytes = new Map();
  }
}
