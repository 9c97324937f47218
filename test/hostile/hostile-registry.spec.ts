import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { digestOf } from '../../src/domain/digest.js';
import { MEDIA_TYPES } from '../../src/domain/manifest.js';
import { FAILURE_REASONS } from '../../src/domain/preheat-state.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { prepareDirectoryCluster } from '../support/directory-cluster.js';
import { tally } from '../support/tally.js';
import { handlesBackTo, openHandles, unforeseen } from '../support/target.js';
import { tinyImage } from '../support/tiny-image.js';
import { Trap } from '../support/trap.js';

const READY_MS = 180_000;
const MIB = 1024 * 1024;
const MAX_PEAK_BYTES = 400 * MIB;
/** Connections that are kept alive for a minute and more: this suite's to the agent, and the agent's to itself. */
const KEPT_HANDLES = 8;
const SECRET = 'secret-of-the-registry';

interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}
interface Malice {
  /** In place of the right manifest; its digest is that of what is sent, unless the answer says otherwise. */
  readonly manifest?: Buffer;
  readonly onManifest?: (asked: Asked) => void;
  readonly onBlob?: (asked: Asked, bytes: Buffer) => void;
}

const image = tinyImage();
const base = JSON.parse(image.manifestBytes.toString()) as { config: object; layers: { size: number }[] };
const changed = (change: object): Buffer => Buffer.from(JSON.stringify({ ...base, ...change }));
const layersWith = (change: object): Buffer =>
  changed({ layers: base.layers.map((layer) => ({ ...layer, ...change })) });

/** Writes for as long as somebody reads. */
function endless(response: ServerResponse, piece: Buffer): void {
  const more = (): void => {
    while (!response.destroyed && response.write(piece));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
}

function endlessManifest({ request, response }: Asked): void {
  response.setHeader('content-type', MEDIA_TYPES.ociManifest);
  response.setHeader('docker-content-digest', image.manifest.config.digest);
  // What is written in answer to HEAD goes nowhere, and is never too much.
  if (request.method === 'HEAD') response.end();
  else endless(response, Buffer.alloc(MIB, ' '));
}

function malices(trap: string): Readonly<Record<string, Malice>> {
  return {
    'a manifest without an end': { onManifest: endlessManifest },
    'a manifest nested deep': { manifest: Buffer.alloc(3 * MIB, '[') },
    'a manifest that is no JSON': { manifest: Buffer.from(`<html>${SECRET}</html>`) },
    'a manifest of another kind': {
      manifest: changed({ mediaType: 'application/vnd.oci.artifact.v1+json' }),
    },
    'an index of an index': {
      manifest: Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MEDIA_TYPES.ociIndex,
          manifests: [{ mediaType: MEDIA_TYPES.ociIndex, digest: digestOf(Buffer.from('x')), size: 1 }],
        }),
      ),
    },
    'ten thousand layers': {
      manifest: changed({ layers: Array.from({ length: 10_000 }, () => base.layers[0]) }),
    },
    'layers of negative size': { manifest: layersWith({ size: -1 }) },
    'layers that are larger than they say': { manifest: layersWith({ size: 10 }) },
    'layers that are smaller than they say': { manifest: layersWith({ size: 5 * MIB }) },
    'layers of 8 PiB': { manifest: layersWith({ size: 2 ** 53 - 1 }) },
    'a digest that is a path': { manifest: layersWith({ digest: 'sha256:../../../../etc/passwd' }) },
    'blobs without an end': {
      onBlob: ({ response }) => {
        response.writeHead(200);
        endless(response, Buffer.alloc(MIB, 'x'));
      },
    },
    'blobs of nothing': {
      onBlob: ({ response }) => void response.writeHead(200, { 'content-length': 0 }).end(),
    },
    'blobs that are packed on the way': {
      onBlob: ({ response }) =>
        void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(64 * MIB))),
    },
    'blobs of other bytes': {
      onBlob: ({ response }, bytes) => void response.writeHead(200).end(Buffer.alloc(bytes.length, 'x')),
    },
    'a redirect to a cloud’s metadata': {
      onBlob: ({ response }) =>
        void response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data' }).end(),
    },
    'a redirect to where passwords are wanted': {
      onBlob: ({ response }) => void response.writeHead(307, { location: `http://${trap}/blob` }).end(),
    },
    'a realm that is a file': {
      onManifest: ({ response }) =>
        void response.writeHead(401, { 'www-authenticate': 'Bearer realm="file:///etc/passwd"' }).end(),
    },
    'headers without an end': {
      onManifest: ({ request }) => {
        request.socket.write('HTTP/1.1 200 OK\r\n');
        for (let line = 0; line < 2_000; line += 1)
          request.socket.write(`X-${line}: ${'x'.repeat(1_000)}\r\n`);
      },
    },
    'its own words as an error': {
      onManifest: ({ response }) =>
        void response
          .writeHead(500, { 'content-type': 'application/json' })
          .end(JSON.stringify({ errors: [{ code: SECRET, message: SECRET }] })),
    },
  };
}

describe('A hostile registry', () => {
  const cleanup = new Cleanup();
  const names = Object.keys(malices('x'));
  let agent: AgentProcess;
  let server: Server;
  let host: string;
  let trap: Trap;
  let handles: number;
  /** Authorization headers that came to the place it redirects to. */
  const leaked: string[] = [];

  beforeAll(async () => {
    trap = await cleanup.track(Trap.start(), (started) => started.stop());
    const elsewhere = createServer((request, response) => {
      if (request.headers.authorization !== undefined) leaked.push(request.headers.authorization);
      response.writeHead(401, { 'www-authenticate': `Basic realm="http://127.0.0.1:${trap.port}/"` }).end();
    });
    const place = await cleanup.track(listen(elsewhere), () => close(elsewhere));
    const table = Object.values(malices(`127.0.0.1:${place}`));
    server = createServer((request, response) => {
      const [, at, what, reference = ''] =
        /^\/v2\/team\/m(\d+)\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? [];
      const malice = table[Number(at)] ?? {};
      if (what === 'blobs') sendBlob(malice, { request, response }, reference);
      else if (what === 'manifests') sendManifest(malice, { request, response });
      else response.writeHead(200).end('{}');
    });
    const port = await cleanup.track(listen(server), () => close(server));
    host = `127.0.0.1:${port}`;
    const cluster = await prepareDirectoryCluster(cleanup, 1, {
      PREHEAT_CONCURRENCY: '32',
      PULLING_TIMEOUT: '20s',
    });
    [agent] = cluster.agents as [AgentProcess];
    const config = join(cluster.directory, 'config.json');
    await writeFile(config, JSON.stringify({ auths: { [host]: { username: 'alice', password: SECRET } } }));
    agent.set('REGISTRY_CONFIG', config);
    agent.start();
    await agent.wait('answering', READY_MS, async () => ((await agent.get('/health')).ok ? true : undefined));
    handles = await openHandles(agent);
    await agent.list(...names.map((_, at) => `${host}/team/m${at}:1`));
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  it.each(names)(
    'that sends %s makes the image fail, with a code',
    async (name) => {
      tally('bad inputs tried');
      const status = await agent.until(`${host}/team/m${names.indexOf(name)}:1`, 'failed', READY_MS);
      expect(FAILURE_REASONS as readonly (string | undefined)[]).toContain(status.reason);
      expect(status.message).not.toContain(SECRET);
    },
    READY_MS,
  );

  it(
    'gets nothing committed, no credential sent elsewhere, and nothing kept',
    async () => {
      const wrong = await wrongInStore(agent);
      tally('wrong bytes committed', wrong.length);
      tally('unauthorised answers given', leaked.length);
      expect([wrong, leaked, trap.visits]).toEqual([[], [], 0]);
      const log = await agent.log();
      expect(log).not.toContain(SECRET);
      expect(await unforeseen(agent)).toEqual([]);
      const status = await readFile(`/proc/${agent.pid}/status`, 'utf8');
      const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
      process.stdout.write(`hostile registry: at most ${Math.round(peak / MIB)} MiB\n`);
      expect(peak).toBeLessThan(MAX_PEAK_BYTES);
      await agent.list();
      server.closeAllConnections();
      await handlesBackTo(agent, handles + KEPT_HANDLES);
    },
    READY_MS,
  );
});

function sendManifest({ manifest = image.manifestBytes, onManifest }: Malice, asked: Asked): void {
  const headers = { 'content-type': MEDIA_TYPES.ociManifest, 'docker-content-digest': digestOf(manifest) };
  if (onManifest) {
    onManifest(asked);
    return;
  }
  asked.response.writeHead(200, { ...headers, 'content-length': manifest.length });
  asked.response.end(asked.request.method === 'HEAD' ? undefined : manifest);
}

function sendBlob({ onBlob }: Malice, asked: Asked, digest: string): void {
  const bytes = [...image.blobs].find(([known]) => known === digest)?.[1];
  if (!bytes) asked.response.writeHead(404).end();
  else if (onBlob) onBlob(asked, bytes);
  else asked.response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
}

/** Nothing of it has reached the runtime; what of it lies in the store must be what its name says. */
async function wrongInStore({ storeDirectory }: AgentProcess): Promise<string[]> {
  const directory = join(storeDirectory, 'blobs', 'sha256');
  const names = await readdir(directory);
  const digests = await Promise.all(
    names.map(async (name) => digestOf(await readFile(join(directory, name)))),
  );
  return names.filter((name, at) => digests[at] !== `sha256:${name}`);
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
