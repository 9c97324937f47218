import { addDemoImage } from '../../src/demo/demo-image.js';
import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { digestOf } from '../../src/domain/digest.js';
import { parseManifest } from '../../src/domain/manifest.js';

/** An image of a registry with all of its bytes at hand. */
export interface ImageBytes {
  readonly reference: string;
  readonly root: string;
  /** Manifest, config and layers. */
  readonly blobs: ReadonlyMap<string, Buffer>;
}

/** Makes an image whose layers no other one has, and puts it into the registry. */
export async function putImageBytes(
  registry: DemoRegistry,
  name: string,
  layerBytes: readonly number[],
): Promise<ImageBytes> {
  const repository = `team/${name}`;
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  await addDemoImage(registry.content, { repository, tag: '1.0', layerBytes, architecture });
  const read = async (path: string, accept = '*/*'): Promise<Buffer> => {
    const answer = await fetch(`${registry.url}/v2/${repository}/${path}`, { headers: { accept } });
    return Buffer.from(await answer.arrayBuffer());
  };
  const manifest = await read('manifests/1.0', 'application/vnd.oci.image.manifest.v1+json');
  const parsed = parseManifest(manifest);
  if (parsed.kind !== 'manifest') throw new Error('a demo image has one manifest');
  const root = digestOf(manifest);
  const blobs = new Map<string, Buffer>([[root, manifest]]);
  for (const { digest } of [parsed.config, ...parsed.layers])
    blobs.set(digest, await read(`blobs/${digest}`));
  return { reference: `${registry.host}/${repository}:1.0`, root, blobs };
}
