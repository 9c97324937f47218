import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { digestOf, hexOf } from '../../src/domain/digest.js';
import { type ImageReference, parseImageReference } from '../../src/domain/image-reference.js';
import { MEDIA_TYPES, parseManifest } from '../../src/domain/manifest.js';
import { type BlobFile, type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';
import { TestRegistryClient } from '../support/registry-client.js';
import type { Login, RegistryUnderTest } from '../support/registry-under-test.js';

const MIB = 1024 * 1024;
const LOGIN = { username: 'alice', password: 'correct horse: battery' };
const ABSENT = `sha256:${'0'.repeat(64)}` as const;

/** What `RegistryClient` promises, over any registry. */
export function describeRegistryContract(start: (login?: Login) => Promise<RegistryUnderTest>): void {
  const { signal } = new AbortController();
  let builder: ImageBuilder;
  let image: BuiltImage;
  let largest: BlobFile;
  let docker: BuiltImage;

  beforeAll(async () => {
    builder = await ImageBuilder.create();
    const single = await builder.image({
      layers: [
        { seed: 'small', sizeBytes: 10_001 },
        { seed: 'large', sizeBytes: 4 * MIB, compressible: 0.1 },
        { seed: 'zstd', sizeBytes: 50_000, compression: 'zstd' },
      ],
    });
    image = await builder.index([single]);
    docker = await builder.image({ layers: [{ seed: 'small', sizeBytes: 10_001 }], format: 'docker' });
    largest = [...image.blobs].sort((left, right) => right.size - left.size)[0]!;
  }, 60_000);

  afterAll(() => builder.dispose());

  describe('open to everyone', () => {
    let registry: RegistryUnderTest;
    let test: TestRegistryClient;
    let reference: ImageReference;

    beforeAll(async () => {
      registry = await start();
      await pushImage(image, registry.url, 'team/app', ['1.0']);
      await pushImage(docker, registry.url, 'team/app', ['docker']);
      reference = parseImageReference(`${registry.host}/team/app:1.0`);
    }, 60_000);
    beforeEach(async () => {
      test = await TestRegistryClient.create();
      await registry.forget();
    });
    afterEach(() => test.dispose());
    afterAll(() => registry.stop());

    it('resolves a tag and a digest', async () => {
      const { digest, size, mediaType } = image.root;
      const expected = { digest, size, mediaType };
      expect(await test.client.resolve(reference, signal)).toEqual(expected);
      const byDigest = parseImageReference(`${registry.host}/team/app@${digest}`);
      expect(await test.client.resolve(byDigest, signal)).toEqual(expected);
    });

    it('prefers the digest of a reference that has both', async () => {
      const both = parseImageReference(`${registry.host}/team/app:1.0@${docker.root.digest}`);
      expect(await test.client.resolve(both, signal)).toMatchObject({ digest: docker.root.digest });
    });

    it('reads Docker manifests by their own media type', async () => {
      const dockerReference = parseImageReference(`${registry.host}/team/app:docker`);
      const { mediaType, digest } = await test.client.resolve(dockerReference, signal);
      expect(mediaType).toBe(MEDIA_TYPES.dockerManifest);
      const bytes = await test.client.manifest(dockerReference, digest, signal);
      expect(parseManifest(bytes)).toMatchObject({ kind: 'manifest', mediaType });
    });

    it('reads manifests byte for byte', async () => {
      for (const { digest } of [image.root, image.images[0]!.manifest]) {
        const bytes = await test.client.manifest(reference, digest, signal);
        expect(bytes).toEqual(await readFile(join(image.directory, hexOf(digest))));
      }
      expect(test.registryBytes).toBe(0);
    });

    it('reads each blob in one answer of its size, and counts its bytes', async () => {
      const { config, layers } = image.images[0]!;
      let total = 0;
      for (const { digest, size } of [config, ...layers]) {
        const blob = await test.client.blob(reference, digest, { start: 0 }, signal);
        expect({ start: blob.start, size: blob.size }).toEqual({ start: 0, size });
        expect(await hashOf(blob.stream)).toBe(digest);
        total += size;
        expect((await registry.blobBytes()).get(digest)).toBe(size);
      }
      expect(test.registryBytes).toBe(total);
    });

    it.each([1, 1000, 2 * MIB])('continues a blob at %d', async (start) => {
      const blob = await test.client.blob(reference, largest.digest, { start }, signal);
      expect({ start: blob.start, size: blob.size }).toEqual({ start, size: largest.size });
      const whole = await readFile(join(image.directory, hexOf(largest.digest)));
      expect((await buffer(blob.stream)).equals(whole.subarray(start))).toBe(true);
      expect((await registry.blobBytes()).get(largest.digest)).toBe(largest.size - start);
    });

    it('reads the last byte alone, and nothing behind it', async () => {
      const last = await test.client.blob(reference, largest.digest, { start: largest.size - 1 }, signal);
      expect(await buffer(last.stream)).toHaveLength(1);
      await expect(
        test.client.blob(reference, largest.digest, { start: largest.size }, signal),
      ).rejects.toMatchObject({
        reason: 'registry_error',
      });
    });

    it('reads several blobs at once', async () => {
      const { layers } = image.images[0]!;
      const hashes = [...layers, ...layers, ...layers].map(async ({ digest }) =>
        hashOf((await test.client.blob(reference, digest, { start: 0 }, signal)).stream),
      );
      expect(new Set(await Promise.all(hashes))).toEqual(new Set(layers.map(({ digest }) => digest)));
    });

    it('says not_found for what is not there', async () => {
      const gone = { reason: 'not_found' };
      const tag = parseImageReference(`${registry.host}/team/app:absent`);
      await expect(test.client.resolve(tag, signal)).rejects.toMatchObject(gone);
      const repository = parseImageReference(`${registry.host}/team/absent:1.0`);
      await expect(test.client.resolve(repository, signal)).rejects.toMatchObject(gone);
      await expect(test.client.manifest(reference, ABSENT, signal)).rejects.toMatchObject(gone);
      await expect(test.client.blob(reference, ABSENT, { start: 0 }, signal)).rejects.toMatchObject(gone);
    });

    it('stops with the reason of its signal, before and midway', async () => {
      const reason = new Error('enough');
      const aborted = AbortSignal.abort(reason);
      await expect(test.client.resolve(reference, aborted)).rejects.toBe(reason);
      await expect(test.client.blob(reference, largest.digest, { start: 0 }, aborted)).rejects.toBe(reason);
      const controller = new AbortController();
      const { stream } = await test.client.blob(reference, largest.digest, { start: 0 }, controller.signal);
      await firstPartOf(stream);
      controller.abort(reason);
      await expect(buffer(stream)).rejects.toBe(reason);
      await expect(test.client.resolve(reference, signal)).resolves.toBeDefined();
    });

    it('takes a stream that is given up', async () => {
      const { stream } = await test.client.blob(reference, largest.digest, { start: 0 }, signal);
      await firstPartOf(stream);
      stream.destroy();
      const again = await test.client.blob(reference, largest.digest, { start: 0 }, signal);
      expect(await hashOf(again.stream)).toBe(largest.digest);
    });
  });

  describe('with a password', () => {
    let registry: RegistryUnderTest;
    let test: TestRegistryClient;
    let reference: ImageReference;

    beforeAll(async () => {
      registry = await start(LOGIN);
      const credentials = `${LOGIN.username}:${LOGIN.password}`;
      await pushImage(image, registry.url, 'team/app', ['1.0'], { credentials });
      reference = parseImageReference(`${registry.host}/team/app:1.0`);
    }, 60_000);
    beforeEach(async () => {
      test = await TestRegistryClient.create();
    });
    afterEach(() => test.dispose());
    afterAll(() => registry.stop());

    it('gets everything with it', async () => {
      await test.login(registry.host, LOGIN.username, LOGIN.password);
      const { digest } = await test.client.resolve(reference, signal);
      expect(digestOf(await test.client.manifest(reference, digest, signal))).toBe(digest);
      const { stream } = await test.client.blob(reference, largest.digest, { start: 0 }, signal);
      expect(await hashOf(stream)).toBe(largest.digest);
    });

    it('says unauthorized without it, and with another one', async () => {
      const refused = { reason: 'unauthorized' };
      await expect(test.client.resolve(reference, signal)).rejects.toMatchObject(refused);
      await test.login(registry.host, LOGIN.username, 'wrong secret');
      await expect(test.client.resolve(reference, signal)).rejects.toMatchObject(refused);
      await expect(test.client.blob(reference, largest.digest, { start: 0 }, signal)).rejects.toMatchObject(
        refused,
      );
      await expect(test.client.resolve(reference, signal)).rejects.not.toThrow(/wrong secret/);
    });

    it('takes a password that has been put right', async () => {
      await test.login(registry.host, LOGIN.username, 'wrong secret');
      await expect(test.client.resolve(reference, signal)).rejects.toMatchObject({ reason: 'unauthorized' });
      await test.login(registry.host, LOGIN.username, LOGIN.password);
      await expect(test.client.resolve(reference, signal)).resolves.toMatchObject(image.root);
    });
  });
}

async function hashOf(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of stream as AsyncIterable<Buffer>) hash.update(part);
  return `sha256:${hash.digest('hex')}`;
}

/** Waits for the first bytes without taking them. */
async function firstPartOf(stream: Readable): Promise<void> {
  await new Promise((resolve) => stream.once('readable', resolve));
}
