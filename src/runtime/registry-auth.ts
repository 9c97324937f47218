import type { ImageReference } from '../domain/image-reference.js';

/** What Docker puts into `X-Registry-Auth`: a user's password, or an OAuth2 refresh token. */
export type RegistryCredentials =
  { readonly username: string; readonly password: string } | { readonly identitytoken: string };

/** The credentials that `REGISTRY_CONFIG` holds, for the one pull that the engine makes from a registry itself. */
export interface RegistryAuth {
  /** Undefined means anonymous. */
  forRepository(
    reference: Pick<ImageReference, 'registry' | 'repository'>,
    signal: AbortSignal,
  ): Promise<RegistryCredentials | undefined>;
}
export const RegistryAuth = Symbol('RegistryAuth');
