import type { AppConfig } from '../config/app-config.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';

/** Where the runtime unpacks images, so that its disk needs room for them; undefined where it does not, or does not say. */
export function guardedDirectory(
  { rootDirectory }: RuntimeSnapshot,
  kind: AppConfig['runtime']['kind'],
): string | undefined {
  // The layout of `directory` unpacks nothing, and comes to be with the first image.
  return kind === 'directory' ? undefined : rootDirectory;
}
