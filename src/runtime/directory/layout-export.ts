import { createReadStream } from 'node:fs';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { pack } from 'tar-stream';

import { type Digest, hexOf } from '../../domain/digest.js';
import type { LayoutBlobs } from './layout-blobs.js';
import { digestsOf, type LayoutImage } from './layout-image.js';
import { formatIndex } from './layout-index.js';

const READ_BYTES = 1024 * 1024;
const EPOCH = new Date(0);

/** One tar that is an OCI image layout and a docker-archive at once; both name the same blobs. */
export function exportLayout(
  name: string,
  image: LayoutImage,
  blobs: LayoutBlobs,
  signal: AbortSignal,
): Readable {
  const tar = pack();
  const output = new PassThrough();
  // Either side's failure destroys `output`: its reader is who learns of it.
  pipeline(tar, output, { signal }).catch(() => undefined);
  fill(tar, name, image, blobs, signal).then(
    () => tar.finalize(),
    (error: unknown) => output.destroy(error as Error),
  );
  return output;
}

async function fill(
  tar: ReturnType<typeof pack>,
  name: string,
  image: LayoutImage,
  blobs: LayoutBlobs,
  signal: AbortSignal,
): Promise<void> {
  const addText = (file: string, text: string): void => {
    tar.entry({ name: file, mode: 0o644, mtime: EPOCH }, text);
  };
  addText('oci-layout', '{"imageLayoutVersion":"1.0.0"}');
  addText('index.json', formatIndex(new Map([[name, image.root]])));
  const { config, layers } = image.manifest;
  addText(
    'manifest.json',
    JSON.stringify([
      {
        Config: blobPath(config.digest),
        // A docker-archive cannot carry a name by digest.
        RepoTags: name.includes('@') ? null : [name],
        Layers: layers.map(({ digest }) => blobPath(digest)),
      },
    ]),
  );
  for (const digest of new Set(digestsOf(image))) {
    const size = await blobs.sizeOf(digest);
    if (size === undefined) throw new Error(`blob ${digest} has vanished`);
    const target = tar.entry({ name: blobPath(digest), size, mode: 0o644, mtime: EPOCH });
    const content = createReadStream(blobs.path(digest), { highWaterMark: READ_BYTES });
    await pipeline(content, target, { signal });
  }
}

function blobPath(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}
