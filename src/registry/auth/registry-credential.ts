import { createHash } from 'node:crypto';

/** How we show a registry who we are. */
export type RegistryCredential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A refresh token (`identitytoken` in Docker's config), good at the registry's token service alone. */
  | { readonly kind: 'identity-token'; readonly token: string };

/** The id of having none. */
export const ANONYMOUS = 'anonymous';

/** Tells credentials apart without keeping them: what was learnt with one must not be used with another. */
export function credentialId(credential: RegistryCredential | undefined): string {
  if (!credential) return ANONYMOUS;
  return createHash('sha256').update(JSON.stringify(credential)).digest('hex');
}

export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
