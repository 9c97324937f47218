import { type Digest, isDigest } from '../domain/digest.js';

/** What a path of the OCI distribution API names. `name` is the repository. */
export type DistributionPath =
  | { readonly kind: 'base' }
  | { readonly kind: 'manifest'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly name: string; readonly tag: string }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'referrers'; readonly name: string };

const NAME_COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const MAX_PATH_LENGTH = 1024;

/** @returns undefined for whatever is not a read of the distribution API (tag listing and uploads among it) */
export function parseDistributionPath(path: string): DistributionPath | undefined {
  if (path === '/v2' || path === '/v2/') return { kind: 'base' };
  if (path.length > MAX_PATH_LENGTH) return undefined;
  const match = /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(path);
  const [, name = '', what, reference = ''] = match ?? [];
  if (!name.split('/').every((component) => NAME_COMPONENT.test(component))) return undefined;
  if (isDigest(reference)) {
    if (what === 'manifests') return { kind: 'manifest', name, digest: reference };
    return what === 'blobs' ? { kind: 'blob', name, digest: reference } : { kind: 'referrers', name };
  }
  return what === 'manifests' && TAG.test(reference) ? { kind: 'tag', name, tag: reference } : undefined;
}
