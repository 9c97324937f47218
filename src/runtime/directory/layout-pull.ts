import PQueue from 'p-queue';

import { anySignal } from '../../common/abort.js';
import type { Digest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { Descriptor } from '../../domain/manifest.js';
import type { Platform } from '../../domain/platform.js';
import type { LayoutBlobs } from './layout-blobs.js';
import { readImage } from './layout-image.js';
import type { LayoutEntry } from './layout-index.js';
import type { MirrorClient } from './mirror-client.js';

/** As Docker does by default. */
const PARALLEL_BLOBS = 3;

/**
 * Fetches what is missing of `root` for this platform: config and layers first, manifests last, so that whoever finds a
 * manifest finds all of the image.
 */
export async function pullIntoLayout(
  root: Digest,
  platform: Platform,
  mirror: MirrorClient,
  blobs: LayoutBlobs,
  signal: AbortSignal,
  onProgress: () => void = () => undefined,
): Promise<LayoutEntry> {
  const image = await readImage(root, platform, async (digest) => {
    onProgress();
    return (await blobs.readManifest(digest)) ?? (await mirror.manifest(digest, signal));
  });
  if (!image) throw new PreheatFailure('runtime_error', `manifest ${root} vanished`);
  const { config, layers } = image.manifest;
  const wanted = new Map([config, ...layers].map((blob) => [blob.digest, blob]));
  await eachInParallel([...wanted.values()], signal, async (blob, limited) => {
    if ((await blobs.sizeOf(blob.digest)) === blob.size) return;
    await blobs.write(blob.digest, blob.size, mirror.read('blobs', blob.digest, limited, onProgress));
  });
  for (const { digest, bytes } of image.manifests) {
    if ((await blobs.sizeOf(digest)) !== bytes.length) await blobs.write(digest, bytes.length, [bytes]);
  }
  return image.root;
}

/** Resolves or rejects only when all work has ended; the first failure ends the rest. */
async function eachInParallel(
  wanted: readonly Descriptor[],
  signal: AbortSignal,
  work: (blob: Descriptor, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failure = new AbortController();
  const limited = anySignal(signal, failure.signal);
  const queue = new PQueue({ concurrency: PARALLEL_BLOBS });
  const fetch = async (blob: Descriptor): Promise<void> => {
    if (limited.aborted) return;
    try {
      await work(blob, limited);
    } catch (error) {
      failure.abort(error);
    }
  };
  await queue.addAll(wanted.map((blob) => () => fetch(blob)));
  limited.throwIfAborted();
}
