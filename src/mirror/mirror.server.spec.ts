import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';

import { freePort } from '../../test/support/free-port.js';
import { TemporaryStore } from '../../test/support/temporary-store.js';
import { systemClock } from '../common/clock.js';
import type { AppConfig } from '../config/app-config.js';
import { type Digest, digestOf } from '../domain/digest.js';
import { MEDIA_TYPES } from '../domain/manifest.js';
import type { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { SwarmSource } from '../peers/swarm/swarm-source.js';
import { DistributionResponder } from './distribution.responder.js';
import { MirrorServer, type MirrorSession } from './mirror.server.js';
import { Uplink } from './uplink.js';

const layer = Buffer.from('the bytes of a layer');
const config = Buffer.from('{}');
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf(config), size: config.length },
    layers: [{ mediaType: MEDIA_TYPES.ociLayer, digest: digestOf(layer), size: layer.length }],
  }),
);
const absent = digestOf(Buffer.from('nobody has this'));

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

const json = ({ body }: Answer): unknown => JSON.parse(body);

describe('MirrorServer', () => {
  let files: TemporaryStore;
  let port: number;
  let mirror: MirrorServer;
  let session: MirrorSession;

  beforeEach(async () => {
    files = await TemporaryStore.open();
    for (const bytes of [layer, config, manifest]) await files.store.putBytes(digestOf(bytes), bytes);
    port = await freePort();
    const settings = {
      mirrorPort: port,
      pullingTimeoutMs: 10_000,
      limits: { downloadRateBytesPerSecond: 0 },
    } as unknown as AppConfig;
    const uplink = new Uplink(settings, systemClock, {} as PreheatMetrics);
    mirror = new MirrorServer(
      settings,
      new DistributionResponder(settings, files.store, uplink, files.space, new SwarmSource(systemClock)),
    );
    await mirror.listen();
    session = mirror.open(digestOf(manifest));
  });
  afterEach(async () => {
    await mirror.close();
    await files.dispose();
  });

  /** The repository under which `of` may be read. */
  const repositoryOf = ({ name }: MirrorSession): string =>
    name.slice(name.indexOf('/') + 1, name.indexOf('@'));
  /** Sends the path exactly as it is given, which may be no URL's. */
  async function ask(path: string, { method = 'GET', headers = {} }: Ask = {}): Promise<Answer> {
    const asked = request({ host: '127.0.0.1', port, path, method, headers }).end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    return { status: answer.statusCode, headers: answer.headers, body: await text(answer) };
  }
  const blob = (digest: Digest, of = session): string => `/v2/${repositoryOf(of)}/blobs/${digest}`;
  const manifestPath = (digest = digestOf(manifest)): string =>
    `/v2/${repositoryOf(session)}/manifests/${digest}`;

  it('lends the runtime a name that nobody can guess, on this port, for the digest to pull', () => {
    const name = new RegExp(`^127\\.0\\.0\\.1:${port}/preheat/[0-9a-f]{32}@${digestOf(manifest)}$`);
    expect(session.name).toMatch(name);
    expect(mirror.open(digestOf(manifest)).name).not.toBe(session.name);
    expect(mirror.isInUse(session.name)).toBe(true);
    session.close();
    expect(mirror.isInUse(session.name)).toBe(false);
  });

  it('gives a pull in flight its manifests and blobs', async () => {
    expect(await ask('/v2/')).toMatchObject({ status: 200, body: '{}' });
    expect(await ask(manifestPath())).toMatchObject({
      status: 200,
      headers: {
        'content-type': MEDIA_TYPES.ociManifest,
        'content-length': String(manifest.length),
        'docker-content-digest': digestOf(manifest),
      },
      body: manifest.toString(),
    });
    expect(await ask(blob(digestOf(layer)))).toMatchObject({
      status: 200,
      headers: { 'content-length': String(layer.length), 'docker-content-digest': digestOf(layer) },
      body: layer.toString(),
    });
    expect(session.missing.size).toBe(0);
  });

  it('says to HEAD what GET would send, and sends nothing', async () => {
    for (const [path, bytes] of [
      [manifestPath(), manifest],
      [blob(digestOf(layer)), layer],
    ] as const) {
      const { status, headers, body } = await ask(path, { method: 'HEAD' });
      expect([status, headers['content-length'], body]).toEqual([200, String(bytes.length), '']);
    }
  });

  it('sends the range that is asked for, by GET alone', async () => {
    const headers = { range: 'bytes=4-8' };
    expect(await ask(blob(digestOf(layer)), { headers })).toMatchObject({
      status: 206,
      headers: { 'content-range': `bytes 4-8/${layer.length}`, 'content-length': '5' },
      body: 'bytes',
    });
    expect(await ask(blob(digestOf(layer)), { headers: { range: 'bytes=20-' } })).toMatchObject({
      status: 416,
      headers: { 'content-range': `bytes */${layer.length}` },
    });
    expect(await ask(blob(digestOf(layer)), { headers, method: 'HEAD' })).toMatchObject({
      status: 200,
      headers: { 'content-length': String(layer.length) },
    });
  });

  it('knows of no referrers', async () => {
    const answer = await ask(`/v2/${repositoryOf(session)}/referrers/${digestOf(manifest)}`);
    expect(answer).toMatchObject({ status: 200, headers: { 'content-type': MEDIA_TYPES.ociIndex } });
    expect(json(answer)).toEqual({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] });
  });

  it('answers 404 at once for what it has not got, and tells the pull of manifests', async () => {
    // A layer that is asked for as a manifest is as good as none.
    const asked = [
      [blob(absent), 'BLOB_UNKNOWN'],
      [manifestPath(absent), 'MANIFEST_UNKNOWN'],
      [manifestPath(digestOf(layer)), 'MANIFEST_UNKNOWN'],
    ] as const;
    for (const [path, code] of asked) {
      const answer = await ask(path);
      expect(answer.status).toBe(404);
      expect(json(answer)).toMatchObject({ statusCode: 404, code, errors: [{ code }] });
    }
    expect([...session.missing]).toEqual([absent, digestOf(layer)]);
  });

  it('does not tell the pull of other blobs, which only a manifest could have named', async () => {
    expect(await ask(blob(absent))).toMatchObject({ status: 404 });
    expect(session.missing.size).toBe(0);
  });

  it.each([
    ['without the nonce', () => `/v2/preheat/blobs/${digestOf(layer)}`],
    ['under another nonce', () => `/v2/preheat/${'0'.repeat(32)}/blobs/${digestOf(layer)}`],
    ['under the nonce alone', () => blob(digestOf(layer)).replace('preheat/', '')],
    ['under the nonce and something more', () => blob(digestOf(layer)).replace('/blobs', '/more/blobs')],
    ['by tag', () => `/v2/${repositoryOf(session)}/manifests/latest`],
    ['with a path out of the repository', () => blob(digestOf(layer)).replace('preheat', '..')],
    ['with a path that is no URL', () => '//'],
    ['with the port of no URL', () => 'http://host:99999999/v2/'],
    ['at the root', () => '/'],
  ])('serves nothing %s', async (_how, path) => {
    const answer = await ask(path());
    expect(answer.status).toBe(404);
    expect(json(answer)).toMatchObject({ statusCode: 404, code: 'NAME_UNKNOWN' });
    expect(session.missing.size).toBe(0);
  });

  it('serves nothing to who would write', async () => {
    for (const method of ['POST', 'PUT', 'DELETE'])
      expect(await ask(blob(digestOf(layer)), { method })).toMatchObject({ status: 404 });
  });

  it('lets a pull of an image that is still arriving wait for its blobs, and for nothing else', async () => {
    const late = Buffer.from('a layer that comes later');
    const stored = Promise.withResolvers<undefined>();
    const asked = Promise.withResolvers<Digest>();
    const early = mirror.open(digestOf(manifest), async (digest) => {
      asked.resolve(digest);
      await stored.promise;
    });
    const answer = ask(blob(digestOf(late), early));
    expect(await asked.promise).toBe(digestOf(late));
    expect(await ask(blob(digestOf(late)))).toMatchObject({ status: 404 });
    const manifestOfEarly = `/v2/${repositoryOf(early)}/manifests/`;
    expect(await ask(manifestOfEarly + digestOf(manifest))).toMatchObject({ status: 200 });
    expect(await ask(manifestOfEarly + absent)).toMatchObject({ status: 404 });
    await files.store.putBytes(digestOf(late), late);
    stored.resolve(undefined);
    expect(await answer).toMatchObject({ status: 200, body: late.toString() });
  });

  it('breaks the connection of who waits for a blob that will not come', async () => {
    const early = mirror.open(digestOf(manifest), () => Promise.reject(new Error('the transfer failed')));
    await expect(ask(blob(absent, early))).rejects.toThrow('socket hang up');
  });

  it('waits for no blob any longer than who asked for it', async () => {
    const gone = Promise.withResolvers<undefined>();
    const early = mirror.open(digestOf(manifest), async (_digest, signal) => {
      signal.addEventListener('abort', () => gone.resolve(undefined));
      asked.destroy();
      await gone.promise;
      signal.throwIfAborted();
    });
    const asked = request({ host: '127.0.0.1', port, path: blob(absent, early) }).end();
    asked.on('error', () => undefined);
    await gone.promise;
  });

  it('serves nothing under the name of a pull that has ended', async () => {
    const other = mirror.open(digestOf(manifest));
    session.close();
    expect(await ask(blob(digestOf(layer)))).toMatchObject({ status: 404 });
    expect(await ask(blob(digestOf(layer), other))).toMatchObject({ status: 200 });
  });

  it('neither challenges nor redirects, whatever it is asked', async () => {
    const paths = ['/v2/', '/v2/preheat/none/tags/list', manifestPath(), blob(absent)];
    for (const path of paths) {
      const { status, headers } = await ask(path, { headers: { authorization: 'Basic dTpw' } });
      expect([200, 404]).toContain(status);
      expect(Object.keys(headers)).not.toContain('www-authenticate');
      expect(Object.keys(headers)).not.toContain('location');
    }
  });

  it('says which setting to change when its port is taken', async () => {
    await mirror.close();
    const other = createServer().listen(port, '127.0.0.1');
    await once(other, 'listening');
    await expect(mirror.listen()).rejects.toThrow(/MIRROR_PORT/);
    other.close();
  });

  it('cuts the connections of pulls in flight when it ends', async () => {
    await mirror.close();
    await expect(ask('/v2/')).rejects.toThrow(/ECONNREFUSED/);
    expect(mirror.isInUse(session.name)).toBe(false);
  });
});
