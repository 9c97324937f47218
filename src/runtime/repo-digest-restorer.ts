/**
 * Lets the runtime resolve an image by digest under its real name (`RESTORE_REPO_DIGESTS`). No other call can: Docker
 * refuses to tag with a digest, so this costs a manifest request at the registry, though no blobs.
 */
export interface RepoDigestRestorer {
  /**
   * Makes `name` resolve; where it does already, nothing is asked of anyone. The image must be there under another name.
   * @param name `registry/repository@digest`
   * @throws PreheatFailure `not_found` or `registry_error` when the registry does not give the manifest, and as every
   *   method of `ImageRuntime`
   */
  restore(name: string, signal: AbortSignal): Promise<void>;
}
export const RepoDigestRestorer = Symbol('RepoDigestRestorer');
