import type { AppConfig } from '../config/app-config.js';

/** What the user should know of an image that is ready, but that the runtime does not resolve by its digest. */
export function unnamedMessage(restoring: AppConfig['runtime']['restoreRepoDigests'], why?: string): string {
  if (restoring === 'never')
    return 'the image is there, but not by its digest: RESTORE_REPO_DIGESTS is never';
  return `the image is there, but not yet by its digest: ${why ?? 'its registry is asked in turn'}`;
}
