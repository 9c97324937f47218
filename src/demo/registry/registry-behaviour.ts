/** How a registry asks for credentials. */
export type RegistryAuth =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | {
      readonly kind: 'token';
      /** Who gets tokens; without, everybody does. */
      readonly username?: string;
      readonly password?: string;
      /** A refresh token that the OAuth way takes. */
      readonly identityToken?: string;
      readonly expiresInMs: number;
      /** Whether the answer says when it expires (60 s is what silence means); true by default. */
      readonly tellsExpiry?: boolean;
      /** Named in the answer: `token` by default. */
      readonly field?: 'token' | 'access_token';
      /** Another realm than its own `/token`. */
      readonly realm?: string;
    };

/** What may be changed while the registry runs. */
export interface RegistryBehaviour {
  auth: RegistryAuth;
  /** Whether blobs are sent by range. */
  ranges: boolean;
  /** Whether manifests are sent with `Docker-Content-Digest`. */
  tellsDigest: boolean;
  /** Blobs are redirected to another listener, by URLs that are good for so long; 0: sent at once. */
  redirectExpiryMs: number;
  /** Where blobs are redirected to, instead of to the registry's own storage listener. */
  redirectTo: string | undefined;
}

export const DEFAULT_BEHAVIOUR: RegistryBehaviour = {
  auth: { kind: 'none' },
  ranges: true,
  tellsDigest: true,
  redirectExpiryMs: 0,
  redirectTo: undefined,
};
