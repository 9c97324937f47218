import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { tinyImage } from '../../test/support/tiny-image.js';
import type { AppConfig } from '../config/app-config.js';
import { type Digest, digestOf } from '../domain/digest.js';
import type { StoreSpace } from '../store/store-space.js';
import { DistributionResponder } from './distribution.responder.js';
import { parseDistributionPath } from './distribution-path.js';
import type { Uplink } from './uplink.js';

describe('DistributionResponder', () => {
  const image = tinyImage();
  const manifest = digestOf(image.manifestBytes);
  const layer = image.manifest.layers[0]!;
  let files: TemporaryStore;
  let server: Server;
  let limited: boolean;
  let slots: number;
  let taken: number;
  let sentBytes: number;
  let touched: Digest[];

  beforeEach(async () => {
    [limited, slots, taken, sentBytes, touched] = [true, 1, 0, 0, []];
    files = await TemporaryStore.open();
    for (const [digest, bytes] of image.blobs) await files.store.putBytes(digest, bytes);
    const uplink = {
      tryEnter: () => {
        if (taken >= slots) return undefined;
        taken += 1;
        return () => (taken -= 1);
      },
      take: (bytes: number) => Promise.resolve((sentBytes += bytes)),
    } as unknown as Uplink;
    const space = { touch: (digest: Digest) => touched.push(digest) } as unknown as StoreSpace;
    const config = { pullingTimeoutMs: 10_000 } as unknown as AppConfig;
    const responder = new DistributionResponder(config, files.store, uplink, space);
    server = createServer((request, response) => {
      const target = parseDistributionPath(request.url ?? '');
      if (target && target.kind !== 'tag') void responder.respond(request, response, target, { limited });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await files.dispose();
  });

  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/team/app/${path}`, init);

  describe.each([
    ['a blob', `blobs/${layer.digest}`, layer.digest, layer.size],
    ['a manifest', `manifests/${manifest}`, manifest, image.manifestBytes.length],
  ])('of %s', (_, path, digest, size) => {
    it('sends a peer every byte by the rate, in a slot, and keeps it', async () => {
      const response = await ask(path);
      expect([response.status, response.headers.get('docker-content-digest')]).toEqual([200, digest]);
      expect(digestOf(Buffer.from(await response.arrayBuffer()))).toBe(digest);
      expect([sentBytes, taken]).toEqual([size, 0]);
      // When it was asked for, and when the last of it was sent.
      expect(touched).toEqual([digest, digest]);
    });

    it('takes nothing of the rate for HEAD, and keeps what was asked for', async () => {
      const response = await ask(path, { method: 'HEAD' });
      expect([response.status, response.headers.get('content-length')]).toEqual([200, String(size)]);
      expect([sentBytes, touched]).toEqual([0, [digest]]);
    });

    it('answers 429 when all slots are taken', async () => {
      slots = 0;
      const response = await ask(path);
      expect(response.status).toBe(429);
      expect(response.headers.get('retry-after')).toBe('1');
      expect(await response.json()).toMatchObject({ code: 'TOOMANYREQUESTS' });
    });

    it("sends the node's own runtime what it asks for without any of this", async () => {
      [limited, slots] = [false, 0];
      expect((await ask(path)).status).toBe(200);
      expect([sentBytes, touched]).toEqual([0, []]);
    });
  });

  it('keeps nothing that it has not got', async () => {
    const absent = digestOf(Buffer.from('absent'));
    for (const kind of ['blobs', 'manifests']) expect((await ask(`${kind}/${absent}`)).status).toBe(404);
    expect((await ask(`manifests/${layer.digest}`)).status).toBe(404);
    expect(touched).not.toContain(absent);
    expect(taken).toBe(0);
  });
});
