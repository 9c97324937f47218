import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { tinyImage } from '../../test/support/tiny-image.js';
import { VirtualClock } from '../../test/support/virtual-clock.js';
import type { AppConfig } from '../config/app-config.js';
import { type Digest, digestOf } from '../domain/digest.js';
import type { Caller } from '../peers/access/caller.js';
import { CHUNK_PLACES, SwarmSource } from '../peers/swarm/swarm-source.js';
import type { StoreSpace } from '../store/store-space.js';
import { DistributionResponder } from './distribution.responder.js';
import { parseDistributionPath } from './distribution-path.js';
import type { Uplink } from './uplink.js';

const MIB = 1024 * 1024;
const PEER: Caller = { node: 'peer', instance: 'peer' };

describe('DistributionResponder', () => {
  const image = tinyImage();
  const manifest = digestOf(image.manifestBytes);
  const layer = image.manifest.layers[0]!;
  let files: TemporaryStore;
  let server: Server;
  let limited: boolean;
  let caller: Caller | undefined;
  let swarm: SwarmSource;
  let slots: number;
  let taken: number;
  let sentBytes: number;
  let touched: Digest[];

  beforeEach(async () => {
    [limited, slots, taken, sentBytes, touched] = [true, 1, 0, 0, []];
    [caller, swarm] = [undefined, new SwarmSource(new VirtualClock())];
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
    const responder = new DistributionResponder(config, files.store, uplink, space, swarm);
    server = createServer((request, response) => {
      const target = parseDistributionPath(request.url ?? '');
      if (target && target.kind !== 'tag') {
        void responder.respond(request, response, target, { limited, caller });
      }
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

  describe('of the chunks of a blob', () => {
    const bytes = randomBytes(8 * MIB + 100);
    const digest = digestOf(bytes);
    const never = new AbortController().signal;
    const chunk = (index: number): RequestInit =>
      range(index * MIB, Math.min((index + 1) * MIB, bytes.length));
    const range = (start: number, end: number): RequestInit => ({
      headers: { range: `bytes=${start}-${end - 1}` },
    });

    beforeEach(async () => {
      caller = PEER;
      slots = 20;
      swarm.note(digest, PEER);
      const partial = await files.store.openPartial(digest, bytes.length);
      await partial.write(MIB, Readable.from([bytes.subarray(MIB, 3 * MIB)]), never);
      await partial.write(8 * MIB, Readable.from([bytes.subarray(8 * MIB)]), never);
    });

    /** Takes places as sendings do that have not ended. */
    const takePlaces = (count: number): ((done: boolean) => void)[] =>
      Array.from({ length: count }, (_, index) => {
        const end = swarm.tryGrant({ digest, size: bytes.length, index, caller: PEER });
        if (!end) throw new Error('there was no place');
        return end;
      });

    it('sends a peer a verified chunk of a blob that is still arriving', async () => {
      for (const [index, length] of [
        [1, MIB],
        [2, MIB],
        [8, 100],
      ] as const) {
        const response = await ask(`blobs/${digest}`, chunk(index));
        expect([response.status, response.headers.get('content-range')]).toEqual([
          206,
          `bytes ${index * MIB}-${index * MIB + length - 1}/${bytes.length}`,
        ]);
        const body = Buffer.from(await response.arrayBuffer());
        expect(body.equals(bytes.subarray(index * MIB, index * MIB + length))).toBe(true);
      }
      expect([...swarm.sentOf(digest)!.toBytes()]).toEqual([0b110, 1]);
      expect(sentBytes).toBe(2 * MIB + 100);
    });

    it('has nothing for it where a byte of the range is not verified, nor the whole blob, nor its size', async () => {
      for (const init of [chunk(0), chunk(3), range(MIB, 3 * MIB + 1), range(0, bytes.length), {}])
        expect((await ask(`blobs/${digest}`, init)).status).toBe(404);
      expect((await ask(`blobs/${digest}`, { method: 'HEAD' })).status).toBe(404);
      expect((await ask(`blobs/${digest}`, { method: 'HEAD', ...chunk(1) })).status).toBe(404);
      expect(swarm.sentOf(digest)).toBeUndefined();
    });

    it('keeps an unfinished blob from the runtime and from tools', async () => {
      caller = undefined;
      expect((await ask(`blobs/${digest}`, chunk(1))).status).toBe(404);
      limited = false;
      expect((await ask(`blobs/${digest}`, chunk(1))).status).toBe(404);
    });

    it('refuses the seventh chunk at a time, and sends it when a place is free', async () => {
      const [first] = takePlaces(CHUNK_PLACES);
      const refused = await ask(`blobs/${digest}`, chunk(1));
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
      expect(await refused.json()).toMatchObject({ code: 'TOOMANYREQUESTS' });
      expect(taken).toBe(0);
      first?.(true);
      // One place serves any number, one after the other.
      for (let turn = 0; turn < 3; turn += 1) {
        const response = await ask(`blobs/${digest}`, chunk(1));
        expect(response.status).toBe(206);
        await response.arrayBuffer();
      }
    });

    it('takes back its mark and its place when all slots of the uplink are taken', async () => {
      slots = 0;
      for (let turn = 0; turn < 2 * CHUNK_PLACES; turn += 1)
        expect((await ask(`blobs/${digest}`, chunk(1))).status).toBe(429);
      expect(swarm.sentOf(digest)?.size).toBe(0);
      slots = 1;
      expect((await ask(`blobs/${digest}`, chunk(1))).status).toBe(206);
    });

    it('gives away no place for a peer that has gone before it was answered', async () => {
      const { openRange } = files.store;
      const opened = Promise.withResolvers<undefined>();
      const gone = Promise.withResolvers<undefined>();
      files.store.openRange = async (...call) => {
        const reader = await openRange.apply(files.store, call);
        opened.resolve(undefined);
        await gone.promise;
        return reader;
      };
      server.once('request', (_request, response) => response.once('close', () => gone.resolve(undefined)));
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
      socket.write(
        `GET /v2/team/app/blobs/${digest} HTTP/1.1\r\nhost: a\r\nrange: bytes=${MIB}-${2 * MIB - 1}\r\n\r\n`,
      );
      await opened.promise;
      socket.destroy();
      await gone.promise;
      files.store.openRange = openRange;
      await setImmediate();
      expect(takePlaces(CHUNK_PLACES)).toHaveLength(CHUNK_PLACES);
    });

    describe('that is complete', () => {
      beforeEach(() => {
        takePlaces(CHUNK_PLACES);
      });

      const whole = { headers: { range: `bytes=0-${layer.size - 1}` } };

      it('refuses a peer while all places are taken, but not what is no chunk', async () => {
        expect((await ask(`blobs/${layer.digest}`, whole)).status).toBe(429);
        expect((await ask(`blobs/${layer.digest}`)).status).toBe(200);
        expect((await ask(`blobs/${layer.digest}`, { headers: { range: 'bytes=1-' } })).status).toBe(206);
        expect((await ask(`blobs/${layer.digest}`, { method: 'HEAD', ...whole })).status).toBe(200);
      });

      it('serves tools and the runtime however many places are taken', async () => {
        caller = undefined;
        expect((await ask(`blobs/${layer.digest}`, whole)).status).toBe(206);
        limited = false;
        expect((await ask(`blobs/${layer.digest}`, whole)).status).toBe(206);
      });
    });
  });
});
