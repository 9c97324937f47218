import { createServer } from 'node:http';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { UPSTREAM_DETAIL } from '../../src/demo/registry/answers.js';
import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { Fault } from '../../src/demo/registry/fault-plan.js';
import { PreheatFailure } from '../../src/domain/errors.js';
import { type ImageReference, parseImageReference } from '../../src/domain/image-reference.js';
import { MAX_MANIFEST_BYTES, MEDIA_TYPES } from '../../src/domain/manifest.js';
import { freePort } from '../support/free-port.js';
import { InstantClock } from '../support/instant-clock.js';
import { TestRegistryClient } from '../support/registry-client.js';
import { putSmallImage, type SmallImage } from '../support/small-image.js';

const HEAD_MANIFEST = /^HEAD .*\/manifests\//;
const GET_MANIFEST = /^GET .*\/manifests\//;
const GET_BLOB = /^GET .*\/blobs\//;

describe('RegistryClient and a registry that fails', () => {
  const { signal } = new AbortController();
  let clock: InstantClock;
  let registry: DemoRegistry;
  let test: TestRegistryClient;
  let image: SmallImage;
  let reference: ImageReference;

  beforeEach(async () => {
    clock = new InstantClock();
    registry = await DemoRegistry.start();
    image = await putSmallImage(registry, 'team/app', '1.0');
    reference = parseImageReference(`${registry.host}/team/app:1.0`);
    test = await TestRegistryClient.create({ clock, pullingTimeoutMs: 1_000 });
  });
  afterEach(async () => {
    await test.dispose();
    await registry.stop();
  });

  const status = (code: number, headers: Record<string, string> = {}): Fault => ({
    kind: 'status',
    status: code,
    headers,
  });
  const resolve = () => test.client.resolve(reference, signal);
  const open = (start = 0) => test.client.blob(reference, image.blobDigest, { start }, signal);

  /** The failure of `work`, whose message must not repeat what the registry said. */
  async function failureOf(work: Promise<unknown>): Promise<PreheatFailure> {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof PreheatFailure)) throw new Error('it did not fail as it should', { cause: error });
    expect(error.message).not.toContain(UPSTREAM_DETAIL);
    return error;
  }

  it.each([500, 502, 503, 504, 408])('asks again after %d, twice', async (code) => {
    registry.faults.add(HEAD_MANIFEST, status(code), 2);
    expect(await resolve()).toMatchObject({ digest: image.manifestDigest });
    expect(clock.sleepsMs).toHaveLength(2);
    registry.faults.add(HEAD_MANIFEST, status(code), 3);
    registry.ledger.clear();
    expect(await failureOf(resolve())).toMatchObject({ reason: 'registry_error' });
    expect(registry.ledger.requests).toHaveLength(3);
  });

  it.each<[number, string]>([
    [401, 'unauthorized'],
    [403, 'unauthorized'],
    [404, 'not_found'],
    [400, 'registry_error'],
    [418, 'registry_error'],
    [304, 'registry_error'],
  ])('takes %d as %s, at once', async (code, reason) => {
    registry.faults.add(GET_BLOB, status(code));
    expect(await failureOf(open())).toMatchObject({ reason });
    expect(registry.ledger.requests).toHaveLength(1);
  });

  it('waits as long as a 429 says, when that is not long', async () => {
    registry.faults.add(GET_BLOB, status(429, { 'retry-after': '2' }));
    expect((await buffer((await open()).stream)).equals(image.blob)).toBe(true);
    expect(clock.sleepsMs).toEqual([2_000]);
  });

  it('hands a longer wait on, in seconds or as a date', async () => {
    registry.faults.add(GET_BLOB, status(429, { 'retry-after': '3600' }));
    expect(await failureOf(open())).toMatchObject({ reason: 'rate_limited', retryAfterMs: 3_600_000 });
    const date = new Date(clock.wallMs() + 600_000).toUTCString();
    registry.faults.add(GET_BLOB, status(429, { 'retry-after': date }));
    expect(await failureOf(open())).toMatchObject({ reason: 'rate_limited', retryAfterMs: 600_000 });
    expect(clock.sleepsMs).toEqual([]);
    expect(registry.ledger.requests).toHaveLength(2);
  });

  it('says rate_limited when a 429 stays', async () => {
    registry.faults.add(GET_BLOB, status(429), 5);
    expect(await failureOf(open())).toMatchObject({ reason: 'rate_limited', retryAfterMs: undefined });
    expect(registry.ledger.requests).toHaveLength(3);
  });

  it('asks again when the connection breaks, and when no answer comes', async () => {
    registry.faults.add(HEAD_MANIFEST, { kind: 'reset' });
    registry.faults.add(HEAD_MANIFEST, { kind: 'hang' });
    expect(await resolve()).toMatchObject({ digest: image.manifestDigest });
    expect(registry.ledger.requests).toHaveLength(3);
  });

  it('says registry_unreachable when nobody listens', async () => {
    const absent = parseImageReference(`127.0.0.1:${await freePort()}/team/app:1.0`);
    const failure = await failureOf(test.client.resolve(absent, signal));
    expect(failure).toMatchObject({ reason: 'registry_unreachable' });
    expect(failure.message).toContain('ECONNREFUSED');
    expect(clock.sleepsMs).toHaveLength(2);
  });

  it('fails a blob that is cut, so that it can be continued without reading a byte twice', async () => {
    registry.faults.add(GET_BLOB, { kind: 'cut', afterBytes: 150_000 });
    const first: Buffer[] = [];
    expect(await failureOf(readInto(first, (await open()).stream))).toMatchObject({
      reason: 'registry_unreachable',
    });
    const received = Buffer.concat(first);
    const second = await open(received.length);
    const whole = Buffer.concat([received, await buffer(second.stream)]);
    expect(whole.equals(image.blob)).toBe(true);
    expect(test.registryBytes).toBe(image.blob.length);
  });

  it('fails a blob that stalls', async () => {
    registry.faults.add(GET_BLOB, { kind: 'stall', afterBytes: 1_000 });
    const { stream } = await open();
    expect(await failureOf(buffer(stream))).toMatchObject({ reason: 'registry_unreachable' });
  });

  it('starts at 0 where ranges are not served', async () => {
    registry.behaviour.ranges = false;
    const blob = await open(1_000);
    expect({ start: blob.start, size: blob.size }).toEqual({ start: 0, size: image.blob.length });
    expect((await buffer(blob.stream)).equals(image.blob)).toBe(true);
  });

  it.each<[string, Record<string, string | undefined>]>([
    ['another range', { 'content-range': 'bytes 0-398999/400000' }],
    ['a range that ends early', { 'content-range': 'bytes 1000-1999/400000' }],
    ['no range', { 'content-range': undefined }],
    ['a range of unknown size', { 'content-range': 'bytes 1000-399999/*' }],
  ])('refuses a 206 with %s', async (_, headers) => {
    registry.faults.add(GET_BLOB, { kind: 'headers', headers });
    expect(await failureOf(open(1_000))).toMatchObject({ reason: 'registry_error' });
  });

  it('says corrupt when a manifest is another', async () => {
    registry.faults.add(GET_MANIFEST, { kind: 'corrupt' });
    const read = test.client.manifest(reference, image.manifestDigest, signal);
    expect(await failureOf(read)).toMatchObject({ reason: 'corrupt' });
  });

  it('says corrupt when a digest resolves to another', async () => {
    const other = await putSmallImage(registry, 'team/app', '2.0');
    const wanted = parseImageReference(`${registry.host}/team/app@${image.manifestDigest}`);
    registry.faults.add(HEAD_MANIFEST, {
      kind: 'headers',
      headers: { 'docker-content-digest': other.manifestDigest },
    });
    expect(await failureOf(test.client.resolve(wanted, signal))).toMatchObject({ reason: 'corrupt' });
  });

  it.each<[string, Record<string, string | undefined>]>([
    ['no digest', { 'docker-content-digest': undefined }],
    ['a digest that is none', { 'docker-content-digest': 'sha512:00' }],
    ['no useful media type', { 'content-type': 'application/json' }],
  ])('reads the manifest itself when HEAD has %s', async (_, headers) => {
    registry.faults.add(HEAD_MANIFEST, { kind: 'headers', headers });
    expect(await resolve()).toEqual({
      digest: image.manifestDigest,
      mediaType: MEDIA_TYPES.ociManifest,
      size: image.manifest.length,
    });
    expect(registry.ledger.count(GET_MANIFEST)).toBe(1);
  });

  it('reads a media type with parameters', async () => {
    const headers = { 'content-type': `${MEDIA_TYPES.ociManifest}; charset=utf-8` };
    registry.faults.add(HEAD_MANIFEST, { kind: 'headers', headers });
    expect(await resolve()).toMatchObject({ mediaType: MEDIA_TYPES.ociManifest });
  });

  it('refuses a manifest above 4 MiB', async () => {
    const bytes = Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' ');
    const { digest } = await registry.content.addManifest('team/app', 'big', bytes, MEDIA_TYPES.ociManifest);
    const read = test.client.manifest(reference, digest, signal);
    expect(await failureOf(read)).toMatchObject({ reason: 'registry_error' });
  });

  it('stops waiting for an answer when its signal aborts', async () => {
    registry.faults.add(HEAD_MANIFEST, { kind: 'hang' });
    const controller = new AbortController();
    const resolved = test.client.resolve(reference, controller.signal);
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await expect(resolved).rejects.toThrow('enough');
    expect(registry.ledger.requests).toHaveLength(1);
  });

  it('refuses a manifest without end', async () => {
    const endless = createServer((_, response) => {
      response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest });
      const write = (): void => {
        while (response.write(Buffer.alloc(65_536)));
      };
      response.on('drain', write);
      write();
    }).listen(0, '127.0.0.1');
    await new Promise((listening) => endless.once('listening', listening));
    const { port } = endless.address() as { port: number };
    const other = parseImageReference(`127.0.0.1:${port}/team/app:1.0`);
    const read = test.client.manifest(other, image.manifestDigest, signal);
    expect(await failureOf(read)).toMatchObject({ reason: 'registry_error' });
    endless.closeAllConnections();
    endless.close();
  });
});

async function readInto(parts: Buffer[], stream: Readable): Promise<void> {
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
}
