import { type Digest, isDigest } from '../../domain/digest.js';

/** What a path of the distribution API asks for. */
export type RegistryRoute =
  | { readonly kind: 'base' }
  | { readonly kind: 'token' }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'upload-start'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string };

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const NAME = `${COMPONENT}(?:/${COMPONENT})*`;
const MANIFEST = new RegExp(`^/v2/(${NAME})/manifests/([\\w][\\w.:-]{0,199})$`);
const BLOB = new RegExp(`^/v2/(${NAME})/blobs/(sha256:[0-9a-f]{64})$`);
const TAGS = new RegExp(`^/v2/(${NAME})/tags/list$`);
const UPLOAD = new RegExp(`^/v2/(${NAME})/blobs/uploads/([0-9a-f-]{36})?$`);

/** Undefined for a path that a registry does not know. */
export function parseRegistryRoute(path: string): RegistryRoute | undefined {
  if (path === '/v2/' || path === '/v2') return { kind: 'base' };
  if (path === '/token') return { kind: 'token' };
  const [, uploadRepository, id] = UPLOAD.exec(path) ?? [];
  if (uploadRepository !== undefined) {
    return id === undefined
      ? { kind: 'upload-start', repository: uploadRepository }
      : { kind: 'upload', repository: uploadRepository, id };
  }
  const [, blobRepository, digest] = BLOB.exec(path) ?? [];
  if (blobRepository !== undefined && digest !== undefined && isDigest(digest)) {
    return { kind: 'blob', repository: blobRepository, digest };
  }
  const [, repository, reference] = MANIFEST.exec(path) ?? [];
  if (repository !== undefined && reference !== undefined) return { kind: 'manifest', repository, reference };
  const tags = TAGS.exec(path)?.[1];
  return tags === undefined ? undefined : { kind: 'tags', repository: tags };
}
