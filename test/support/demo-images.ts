import { addDemoImage } from '../../src/demo/demo-image.js';
import { DemoRegistry, type DemoRegistryOptions } from '../../src/demo/registry/demo-registry.js';
import type { Cleanup } from './cleanup.js';

/** A registry in this process, which keeps a ledger and can be told to fail. */
export async function startDemoRegistry(
  cleanup: Cleanup,
  options: DemoRegistryOptions = {},
): Promise<DemoRegistry> {
  return cleanup.track(DemoRegistry.start(options), (registry) => registry.stop());
}

/**
 * Puts an image of this machine's platform into the registry, under the tag `1.0`. Layers of one size and place are the
 * same in all images.
 * @param layerBytes of each layer
 * @returns bytes of its blobs
 */
export function addImage(
  registry: DemoRegistry,
  repository: string,
  layerBytes: number,
  layers = 3,
): Promise<number> {
  return addDemoImage(registry.content, {
    repository,
    tag: '1.0',
    layerBytes: Array.from({ length: layers }, (_, index) => layerBytes + index),
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
  });
}

/** Body bytes of blobs that the registry has sent. */
export function sentBytes({ ledger }: DemoRegistry): number {
  return [...ledger.blobBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
}
