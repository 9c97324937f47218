import type { BearerChallenge } from './token-service.js';

/** What a registry is known to accept for one repository and credential. */
export type KnownAuthorization =
  | { readonly scheme: 'basic'; readonly header: string }
  | {
      readonly scheme: 'bearer';
      readonly header: string;
      /** Where the next one comes from. */
      readonly challenge: BearerChallenge;
      /** Monotonic; from here on a new one is fetched before use. */
      readonly renewAtMs: number;
    };

export interface AuthorizationKey {
  readonly registry: string;
  readonly repository: string;
  readonly credentialId: string;
}

const MAX_ENTRIES = 256;

/** Bounded; the entry unused longest goes first. */
export class TokenCache {
  private readonly entries = new Map<string, KnownAuthorization>();

  get(key: AuthorizationKey): KnownAuthorization | undefined {
    const text = format(key);
    const entry = this.entries.get(text);
    if (!entry) return undefined;
    this.entries.delete(text);
    this.entries.set(text, entry);
    return entry;
  }

  set(key: AuthorizationKey, entry: KnownAuthorization): void {
    const text = format(key);
    this.entries.delete(text);
    this.entries.set(text, entry);
    const [oldest] = this.entries.keys();
    if (this.entries.size > MAX_ENTRIES && oldest !== undefined) this.entries.delete(oldest);
  }

  delete(key: AuthorizationKey): void {
    this.entries.delete(format(key));
  }
}

/** One entry per scope: `pull` is the only action we ever ask for, so the repository is the scope. */
function format({ registry, repository, credentialId }: AuthorizationKey): string {
  return JSON.stringify([registry, repository, credentialId]);
}
