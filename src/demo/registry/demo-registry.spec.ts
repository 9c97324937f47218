import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { digestOf } from '../../domain/digest.js';
import { UPSTREAM_DETAIL } from './answers.js';
import { DemoRegistry } from './demo-registry.js';
import { parseRegistryRoute } from './registry-route.js';

const BYTES = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 251));
const DIGEST = digestOf(BYTES);
const MANIFEST = Buffer.from('{"schemaVersion":2}');
const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';

async function upload(registry: DemoRegistry, bytes: Buffer): Promise<number> {
  const start = await fetch(`${registry.url}/v2/team/app/blobs/uploads/`, { method: 'POST' });
  const location = new URL(start.headers.get('location') ?? '', registry.url).href;
  const [first, rest] = [bytes.subarray(0, 1000), bytes.subarray(1000)];
  await fetch(location, { method: 'PATCH', body: first });
  return (await fetch(`${location}?digest=${digestOf(bytes)}`, { method: 'PUT', body: rest })).status;
}

describe.each(['memory', 'directory'])('DemoRegistry with blobs in %s', (kind) => {
  let registry: DemoRegistry;
  let directory: string;
  let blobUrl: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'demo-registry-'));
    registry = await DemoRegistry.start(kind === 'memory' ? {} : { directory });
    blobUrl = `${registry.url}/v2/team/app/blobs/${DIGEST}`;
  });
  afterEach(async () => {
    await registry.stop();
    await rm(directory, { recursive: true });
  });

  it('gives back what was pushed, and counts what it sends', async () => {
    expect(await upload(registry, BYTES)).toBe(201);
    const answer = await fetch(blobUrl);
    expect(digestOf(new Uint8Array(await answer.arrayBuffer()))).toBe(DIGEST);
    const part = await fetch(blobUrl, { headers: { range: 'bytes=10-19' } });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 10-19/${BYTES.length}`]);
    expect(Buffer.from(await part.arrayBuffer()).equals(BYTES.subarray(10, 20))).toBe(true);
    expect(registry.ledger.blobBytes.get(DIGEST)).toBe(BYTES.length + 10);
    expect(registry.ledger.count(/^GET .*\/blobs\//)).toBe(2);
    if (kind === 'directory') expect(await readdir(join(directory, 'blobs', 'sha256'))).toHaveLength(1);
  });

  it('answers a range that it cannot with 416, and takes the last bytes', async () => {
    await upload(registry, BYTES);
    const beyond = await fetch(blobUrl, { headers: { range: `bytes=${BYTES.length}-` } });
    expect(beyond.status).toBe(416);
    const last = await fetch(blobUrl, { headers: { range: 'bytes=-5' } });
    expect(Buffer.from(await last.arrayBuffer()).equals(BYTES.subarray(-5))).toBe(true);
  });

  it('knows manifests by tag and by digest, in their own repository alone', async () => {
    const url = `${registry.url}/v2/team/app/manifests`;
    const put = { method: 'PUT', body: MANIFEST, headers: { 'content-type': MEDIA_TYPE } };
    expect((await fetch(`${url}/1.0`, put)).status).toBe(201);
    for (const reference of ['1.0', digestOf(MANIFEST)]) {
      const answer = await fetch(`${url}/${reference}`);
      expect(answer.headers.get('content-type')).toBe(MEDIA_TYPE);
      expect(answer.headers.get('docker-content-digest')).toBe(digestOf(MANIFEST));
      expect(Buffer.from(await answer.arrayBuffer()).equals(MANIFEST)).toBe(true);
    }
    expect((await fetch(`${registry.url}/v2/team/other/manifests/1.0`)).status).toBe(404);
    expect(await (await fetch(`${registry.url}/v2/team/app/tags/list`)).json()).toEqual({
      name: 'team/app',
      tags: ['1.0'],
    });
  });

  it('refuses an upload that is not what it says', async () => {
    const start = await fetch(`${registry.url}/v2/team/app/blobs/uploads/`, { method: 'POST' });
    const location = new URL(start.headers.get('location') ?? '', registry.url).href;
    const put = await fetch(`${location}?digest=${DIGEST}`, { method: 'PUT', body: 'other' });
    expect(put.status).toBe(400);
    expect((await fetch(blobUrl)).status).toBe(404);
  });
});

describe('DemoRegistry', () => {
  let registry: DemoRegistry;
  let blobUrl: string;

  beforeEach(async () => {
    registry = await DemoRegistry.start();
    await upload(registry, BYTES);
    blobUrl = `${registry.url}/v2/team/app/blobs/${DIGEST}`;
  });
  afterEach(() => registry.stop());

  it('sends by redirect, to a URL that no credential may come with', async () => {
    registry.behaviour.redirectExpiryMs = 60_000;
    const answer = await fetch(blobUrl, { redirect: 'manual' });
    const location = answer.headers.get('location') ?? '';
    expect(answer.status).toBe(307);
    expect((await fetch(location, { headers: { authorization: 'Basic eDp5' } })).status).toBe(400);
    expect((await fetch(`${location}x`)).status).toBe(403);
    expect((await fetch(location)).status).toBe(200);
  });

  it('lets a redirect expire', async () => {
    registry.behaviour.redirectExpiryMs = 1;
    expect((await fetch(blobUrl)).status).toBe(403);
  });

  it('fails as planned, so often and no more', async () => {
    registry.faults.add(/GET .*blobs/, { kind: 'status', status: 503, headers: { 'retry-after': '7' } }, 2);
    for (let attempt = 0; attempt < 2; attempt++) {
      const failed = await fetch(blobUrl);
      expect([failed.status, failed.headers.get('retry-after')]).toEqual([503, '7']);
      expect(await failed.text()).toContain(UPSTREAM_DETAIL);
    }
    registry.faults.add(/GET/, { kind: 'reset' });
    await expect(fetch(blobUrl)).rejects.toThrow('fetch failed');
    registry.faults.add(/GET/, { kind: 'cut', afterBytes: 1000 });
    await expect((await fetch(blobUrl)).arrayBuffer()).rejects.toThrow();
    registry.faults.add(/GET/, { kind: 'corrupt' });
    const corrupt = Buffer.from(await (await fetch(blobUrl)).arrayBuffer());
    expect(corrupt.length).toBe(BYTES.length);
    expect(digestOf(corrupt)).not.toBe(DIGEST);
    expect((await fetch(blobUrl)).status).toBe(200);
  });

  it('hangs and stalls until the client has had enough', async () => {
    for (const fault of [{ kind: 'hang' }, { kind: 'stall', afterBytes: 1000 }] as const) {
      registry.faults.add(/GET/, fault);
      const request = fetch(blobUrl, { signal: AbortSignal.timeout(100) });
      await expect(request.then((answer) => answer.arrayBuffer())).rejects.toThrow(/timeout/);
    }
  });

  it('gives tokens to whom it knows', async () => {
    registry.behaviour.auth = { kind: 'token', username: 'a', password: 'b', expiresInMs: 60_000 };
    const challenge = (await fetch(blobUrl)).headers.get('www-authenticate');
    expect(challenge).toBe(
      `Bearer realm="${registry.url}/token",service="demo-registry",scope="repository:team/app:pull"`,
    );
    const tokenUrl = `${registry.url}/token?service=demo-registry&scope=repository:team/app:pull`;
    expect((await fetch(tokenUrl)).status).toBe(401);
    const answer = await fetch(tokenUrl, { headers: { authorization: `Basic ${btoa('a:b')}` } });
    const { token } = (await answer.json()) as { token: string };
    const authorized = { headers: { authorization: `Bearer ${token}` } };
    expect((await fetch(blobUrl, authorized)).status).toBe(200);
    registry.access.revokeTokens();
    expect((await fetch(blobUrl, authorized)).status).toBe(401);
  });

  it('keeps to its bandwidth', async () => {
    const slow = await DemoRegistry.start({ bandwidthBytesPerSecond: 400_000 });
    await upload(slow, BYTES);
    const startedAt = performance.now();
    const answer = await fetch(`${slow.url}/v2/team/app/blobs/${DIGEST}`);
    expect(digestOf(new Uint8Array(await answer.arrayBuffer()))).toBe(DIGEST);
    // The first 256 KiB leave at once, more than was saved up; the rest waits for that debt.
    expect(performance.now() - startedAt).toBeGreaterThan(100);
    await slow.stop();
  });
});

describe('parseRegistryRoute', () => {
  it.each([
    ['/v2/', { kind: 'base' }],
    ['/v2/a/b/manifests/1.0', { kind: 'manifest', repository: 'a/b', reference: '1.0' }],
    [`/v2/a/blobs/${DIGEST}`, { kind: 'blob', repository: 'a', digest: DIGEST }],
    ['/v2/a/blobs/uploads/', { kind: 'upload-start', repository: 'a' }],
    ['/v2/blobs/uploads/manifests/x', { kind: 'manifest', repository: 'blobs/uploads', reference: 'x' }],
    ['/v2/a/../b/manifests/1.0', undefined],
    ['/v2/A/manifests/1.0', undefined],
    ['/v2/a/blobs/sha256:12', undefined],
    ['/', undefined],
  ])('reads %s', (path, expected) => {
    expect(parseRegistryRoute(path)).toEqual(expected);
  });
});
