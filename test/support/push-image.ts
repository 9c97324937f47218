import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { request } from 'undici';

import { hexOf } from '../../src/domain/digest.js';
import { isManifestType } from '../../src/domain/manifest.js';
import type { BlobFile, BuiltImage } from './image-builder.js';

export interface PushOptions {
  /** `user:password` */
  readonly credentials?: string;
}

/**
 * Uploads an image over the distribution API, skipping blobs that the repository has.
 * @param registryUrl such as `http://127.0.0.1:5000`
 * @param tags what names the image's root there
 */
export async function pushImage(
  image: BuiltImage,
  registryUrl: string,
  repository: string,
  tags: readonly string[],
  { credentials }: PushOptions = {},
): Promise<void> {
  const base = `${registryUrl}/v2/${repository}`;
  const headers =
    credentials === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
  for (const blob of image.blobs) {
    if (!isManifestType(blob.mediaType)) await pushBlob(image, blob, base, headers);
    else if (blob.digest !== image.root.digest) await pushManifest(image, blob, base, blob.digest, headers);
  }
  for (const tag of tags) await pushManifest(image, image.root, base, tag, headers);
}

async function pushBlob(
  { directory }: BuiltImage,
  { digest, size }: BlobFile,
  base: string,
  headers: Record<string, string>,
): Promise<void> {
  const head = await request(`${base}/blobs/${digest}`, { method: 'HEAD', headers });
  await head.body.dump();
  if (head.statusCode === 200) return;
  const start = await request(`${base}/blobs/uploads/`, { method: 'POST', headers });
  await start.body.dump();
  const location = new URL(String(start.headers['location']), base);
  location.searchParams.set('digest', digest);
  await expect201(`blob ${digest}`, location.href, {
    body: createReadStream(join(directory, hexOf(digest)), { highWaterMark: 1024 * 1024 }),
    headers: { ...headers, 'content-type': 'application/octet-stream', 'content-length': String(size) },
  });
}

async function pushManifest(
  { directory }: BuiltImage,
  { digest, mediaType }: BlobFile,
  base: string,
  name: string,
  headers: Record<string, string>,
): Promise<void> {
  await expect201(`manifest ${name}`, `${base}/manifests/${name}`, {
    body: await readFile(join(directory, hexOf(digest))),
    headers: { ...headers, 'content-type': mediaType },
  });
}

async function expect201(
  what: string,
  url: string,
  options: { body: Buffer | NodeJS.ReadableStream; headers: Record<string, string> },
): Promise<void> {
  const answer = await request(url, { method: 'PUT', ...options } as Parameters<typeof request>[1]);
  const body = await answer.body.text();
  if (answer.statusCode !== 201)
    throw new Error(`pushing ${what}: HTTP ${answer.statusCode} ${body.slice(0, 500)}`);
}
