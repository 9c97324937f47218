import { createReadStream } from 'node:fs';
import { join } from 'node:path';

import { hexOf } from '../../src/domain/digest.js';
import type { BlobStore } from '../../src/store/blob-store.js';
import type { BlobFile, BuiltImage } from './image-builder.js';

/** Puts the blobs of an image into the store, or only some of them. */
export async function storeImage(
  { blobs, directory }: BuiltImage,
  store: BlobStore,
  which: (blob: BlobFile) => boolean = () => true,
): Promise<void> {
  const signal = new AbortController().signal;
  for (const { digest, size } of blobs.filter(which)) {
    const stream = createReadStream(join(directory, hexOf(digest)));
    await store.ingest(stream, (actual) => actual === digest, size, signal);
  }
}
