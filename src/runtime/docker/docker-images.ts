import { z } from 'zod';

import { type Digest, isDigest } from '../../domain/digest.js';
import { InvalidInputError } from '../../domain/errors.js';
import {
  digestName,
  formatReference,
  type ImageReference,
  parseImageReference,
  repositoryName,
} from '../../domain/image-reference.js';
import type { RuntimeImage, RuntimeSnapshot } from '../image-runtime.js';

/** What of `GET /info` matters here. */
export const dockerInfo = z
  .object({
    DriverStatus: z.array(z.array(z.string())).nullish(),
    DockerRootDir: z.string().nullish(),
  })
  .transform(({ DriverStatus, DockerRootDir }): DockerStore => ({
    kind: DriverStatus?.some(([, value]) => value?.startsWith('io.containerd.snapshotter') === true)
      ? 'containerd'
      : 'classic',
    ...(DockerRootDir ? { rootDirectory: DockerRootDir } : {}),
  }));

export interface DockerStore {
  readonly kind: 'classic' | 'containerd';
  /** As the daemon sees it: with a containerd of its own, its images may lie elsewhere. */
  readonly rootDirectory?: string;
}

/** What of `GET /images/json` and `GET /images/{name}/json` matters here. */
export const dockerImage = z.object({
  Id: z.string(),
  RepoTags: z.array(z.string()).nullish(),
  RepoDigests: z.array(z.string()).nullish(),
  /** Bytes of its layers, unpacked. */
  Size: z.number().nonnegative().nullish(),
});
export type DockerImage = z.infer<typeof dockerImage>;

/** Images by canonical name, from Docker's familiar ones (`nginx:1` is `docker.io/library/nginx:1`). */
export function snapshotOf(images: readonly DockerImage[], store: DockerStore): RuntimeSnapshot {
  const names = new Map<string, RuntimeImage>();
  for (const image of images) {
    if (!isDigest(image.Id)) continue;
    for (const [name, value] of namesOf(image, image.Id, store)) names.set(name, value);
  }
  return {
    identifiesBy: store.kind === 'classic' ? 'config' : 'manifest',
    images: names,
    ...(store.rootDirectory === undefined ? {} : { rootDirectory: store.rootDirectory }),
  };
}

function namesOf(image: DockerImage, id: Digest, { kind }: DockerStore): [string, RuntimeImage][] {
  // The containerd store lists names by digest among the tags.
  const references = [...(image.RepoTags ?? []), ...(image.RepoDigests ?? [])].flatMap(readName);
  const byDigest = references.filter((reference) => reference.digest !== undefined);
  return references.flatMap((reference): [string, RuntimeImage][] => {
    const name = formatReference(reference);
    if (kind === 'containerd') {
      // Its id is the manifest's digest, and it resolves every repository it has a tag of by that digest as well,
      // also where it leaves that out of RepoDigests.
      const value = { id, digest: id };
      return [
        [name, value],
        [digestName(reference, id), value],
      ];
    }
    const digest =
      reference.digest ?? only(byDigest.filter(sameRepository(reference)).flatMap((r) => r.digest ?? []));
    // Its docker save writes all layers to a temporary directory first.
    const staged = image.Size ? { stagedBytes: image.Size } : {};
    return [[name, { id, ...(digest === undefined ? {} : { digest }), ...staged }]];
  });
}

/** Docker shows `<none>:<none>` for what has no name. */
function readName(text: string): ImageReference[] {
  try {
    return [parseImageReference(text)];
  } catch (error) {
    if (error instanceof InvalidInputError) return [];
    throw error;
  }
}

function sameRepository(wanted: ImageReference): (other: ImageReference) => boolean {
  return (other) => repositoryName(other) === repositoryName(wanted);
}

/** Several manifests may stand for one config: then nobody can say which of them a tag meant. */
function only(digests: readonly Digest[]): Digest | undefined {
  return new Set(digests).size === 1 ? digests[0] : undefined;
}
