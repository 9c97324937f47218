/**
 * Lets the runtime resolve an image by digest under its real name (`RESTORE_REPO_DIGESTS`). No other call can: Docker
 * refuses to tag with a digest, so this costs a manifest request at the registry, though no blobs.
 */
export interface RepoDigestRestorer {
  /**
   * Makes `name` resolve, if that takes no question to a registry.
   * @param name `registry/repository@digest`
   * @returns whether it does
   */
  restoreLocally(name: string, signal: AbortSignal): Promise<boolean>;

  /**
   * The same, asking the registry where it must; where the name resolves already, nothing is asked of anyone. The image
   * must be there under another name.
   * @throws PreheatFailure `not_found`, `unauthorized`, `rate_limited` or `registry_error` when the registry does not give
   *   the manifest, and as every method of `ImageRuntime`
   */
  restore(name: string, signal: AbortSignal): Promise<void>;
}
export const RepoDigestRestorer = Symbol('RepoDigestRestorer');
