import { Readable } from 'node:stream';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { type Digest, digestOf } from '../../src/domain/digest.js';
import { deriveManifest, MEDIA_TYPES } from '../../src/domain/manifest.js';
import { generatedContent } from './generated-content.js';

export interface SmallImage {
  readonly manifest: Buffer;
  readonly manifestDigest: Digest;
  readonly blob: Buffer;
  readonly blobDigest: Digest;
}

/** An image of one blob and a manifest over it, put into a demo registry without a detour over HTTP. */
export async function putSmallImage(
  registry: DemoRegistry,
  repository: string,
  tag: string,
  sizeBytes = 400_000,
): Promise<SmallImage> {
  const blob = Buffer.concat([...generatedContent(`${repository}:${tag}`, sizeBytes, 0.5)]);
  const { digest: blobDigest, size } = await registry.content.addBlob(repository, Readable.from([blob]));
  const manifest = Buffer.from(deriveManifest({ digest: blobDigest, size }, [{ digest: blobDigest, size }]));
  await registry.content.addManifest(repository, tag, manifest, MEDIA_TYPES.ociManifest);
  return { manifest, manifestDigest: digestOf(manifest), blob, blobDigest };
}
