/** What Docker puts into `X-Registry-Auth`: a user's password, or an OAuth2 refresh token. */
export type RegistryCredentials =
  { readonly username: string; readonly password: string } | { readonly identitytoken: string };

/** The credentials that `REGISTRY_CONFIG` holds, for the one pull that the engine makes from a registry itself. */
export interface RegistryAuth {
  /** @param host as in a reference, `docker.io` for Docker Hub; undefined means anonymous */
  forRegistry(host: string): Promise<RegistryCredentials | undefined>;
}
export const RegistryAuth = Symbol('RegistryAuth');
