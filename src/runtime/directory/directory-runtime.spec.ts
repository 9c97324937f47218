import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { AppConfig } from '../../config/app-config.js';
import { type Digest, hexOf } from '../../domain/digest.js';
import { DirectoryRuntime } from './directory-runtime.js';

const { signal } = new AbortController();
const digestOf = (bytes: Buffer): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** One image of two layers, the second of which it shares with every other. */
function image(seed: string) {
  const layers = [Buffer.from(`layer of ${seed}`), Buffer.from('shared layer')];
  const config = Buffer.from(JSON.stringify({ seed, rootfs: { diff_ids: layers.map(digestOf) } }));
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: describe('application/vnd.oci.image.config.v1+json', config),
      layers: layers.map((layer) => describe('application/vnd.oci.image.layer.v1.tar', layer)),
    }),
  );
  const blobs = new Map([...layers, config, manifest].map((bytes) => [digestOf(bytes), bytes]));
  return { root: digestOf(manifest), blobs, layer: digestOf(layers[0]!) };
}

describe('DirectoryRuntime', () => {
  let directory: string;
  let server: Server;
  let served: Map<string, Buffer>;
  let asked: string[];
  const name = (root: Digest) => `127.0.0.1:${(server.address() as AddressInfo).port}/preheat/n@${root}`;
  const newRuntime = () =>
    new DirectoryRuntime({
      platform: { os: 'linux', architecture: 'amd64' },
      runtime: { directory },
    } as AppConfig);
  const blobFiles = () => readdir(join(directory, 'blobs', 'sha256'));
  const namesIn = async (runtime: DirectoryRuntime) => [...(await runtime.list(signal)).images.keys()];

  beforeEach(async () => {
    directory = join(await mkdtemp(join(tmpdir(), 'directory-runtime-')), 'layout');
    served = new Map();
    asked = [];
    server = createServer((request, response) => {
      const digest = request.url?.split('/').pop() ?? '';
      asked.push(digest);
      const bytes = served.get(digest);
      response.writeHead(bytes ? 200 : 404).end(bytes);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await rm(join(directory, '..'), { recursive: true });
  });

  it('fetches only what it has not got, and keeps what other names need', async () => {
    const [one, two] = [image('one'), image('two')];
    served = new Map([...one.blobs, ...two.blobs]);
    const runtime = newRuntime();
    await runtime.pull(name(one.root), signal);
    asked = [];
    await runtime.pull(name(two.root), signal);
    expect(asked).toHaveLength(3);
    await runtime.tag(name(two.root), 'example.org/two:1', signal);
    await runtime.untag(name(one.root), signal);
    expect((await blobFiles()).sort()).toEqual([...two.blobs.keys()].map(hexOf).sort());
    await runtime.untag(name(two.root), signal);
    expect(await namesIn(runtime)).toEqual(['example.org/two:1']);
  });

  it('keeps its names over a restart, and sweeps what a crash left half written', async () => {
    const one = image('one');
    served = one.blobs;
    await newRuntime().pull(name(one.root), signal);
    await mkdir(join(directory, 'incoming'), { recursive: true });
    await writeFile(join(directory, 'incoming', 'half'), 'half');
    const restarted = newRuntime();
    expect(await namesIn(restarted)).toEqual([name(one.root)]);
    await restarted.pull(name(one.root), signal);
    expect(await readdir(directory)).not.toContain('incoming');
  });

  it('does not list an image of which a blob is gone, and fetches just that again', async () => {
    const one = image('one');
    served = one.blobs;
    const runtime = newRuntime();
    await runtime.pull(name(one.root), signal);
    await rm(join(directory, 'blobs', 'sha256', hexOf(one.layer)));
    expect(await namesIn(runtime)).toEqual([]);
    asked = [];
    await runtime.pull(name(one.root), signal);
    expect(asked).toEqual([one.layer]);
    expect(await namesIn(runtime)).toEqual([name(one.root)]);
  });

  it('removes nothing that a pull in flight has fetched', async () => {
    const [one, two] = [image('one'), image('two')];
    served = new Map([...one.blobs, ...two.blobs]);
    const runtime = newRuntime();
    await runtime.pull(name(one.root), signal);
    await Promise.all([runtime.pull(name(two.root), signal), runtime.untag(name(one.root), signal)]);
    expect(await namesIn(runtime)).toEqual([name(two.root)]);
  });

  it('says corrupt for wrong bytes, and that the directory cannot be used when it cannot', async () => {
    const one = image('one');
    served = new Map([...one.blobs, [one.layer, Buffer.from('layer of two')]]);
    await expect(newRuntime().pull(name(one.root), signal)).rejects.toMatchObject({ reason: 'corrupt' });
    served = new Map([...one.blobs, [one.root, Buffer.from('{}')]]);
    await expect(newRuntime().pull(name(one.root), signal)).rejects.toMatchObject({ reason: 'corrupt' });
    await rm(directory, { recursive: true, force: true });
    await writeFile(directory, 'a file');
    served = one.blobs;
    await expect(newRuntime().pull(name(one.root), signal)).rejects.toMatchObject({
      reason: 'runtime_unreachable',
    });
  });
});
