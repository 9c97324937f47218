import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { digestOf } from '../../src/domain/digest.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { startDemoRegistry } from '../support/demo-images.js';
import { prepareDirectoryCluster, wrongBlobs } from '../support/directory-cluster.js';
import { type ImageBytes, putImageBytes } from '../support/image-bytes.js';
import { MaliciousPeer } from '../support/malicious-peer.js';
import { malices, type NamedMalice } from '../support/malices.js';
import { keyFor } from '../support/session-client.js';
import { tally } from '../support/tally.js';
import { handlesBackTo, openHandles, unforeseen } from '../support/target.js';
import { Trap } from '../support/trap.js';

const SETUP_MS = 180_000;
/** A byte now and then is given up after a chunk's deadline, no answer after ten seconds, three times over. */
const READY_MS = 180_000;
const MIB = 1024 * 1024;
/** A layer of two chunks, and a small one. */
const LAYERS = [1.5 * MIB, 40_000];
/** Half of what k8s/ gives an agent, for some forty images at once, each of which a peer tries to spoil. */
const MAX_PEAK_BYTES = 512 * MIB;

describe('A peer that was taken over', () => {
  const cleanup = new Cleanup();
  const names = Object.keys(malices('x'));
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let trap: Trap;
  let handles: number[];
  const peers = new Map<string, { peer: MaliciousPeer; named: NamedMalice }>();
  const images: ImageBytes[] = [];

  beforeAll(async () => {
    trap = await cleanup.track(Trap.start(), (started) => started.stop());
    registry = await startDemoRegistry(cleanup);
    cluster = await prepareDirectoryCluster(cleanup, 2, {
      PREHEAT_CONCURRENCY: '64',
      PULLING_TIMEOUT: '20s',
    });
    const key = keyFor('peer session', await readFile(join(cluster.directory, 'peer-key')));
    for (const [at, [name, named]] of Object.entries(malices(`127.0.0.1:${trap.port}`)).entries()) {
      const peer = await cleanup.track(MaliciousPeer.start(`mallory-${at}`, key, named.malice), (made) =>
        made.stop(),
      );
      peers.set(name, { peer, named });
    }
    const listed = [
      ...cluster.agents.map(({ address }) => address),
      ...[...peers.values()].map(({ peer }) => peer.address),
    ];
    for (const agent of cluster.agents) agent.set('PEERS', listed.join(','));
    cluster.start();
    for (const agent of cluster.agents)
      await agent.wait('acquainted with all', SETUP_MS, async () =>
        (await agent.metric('image_preheat_peers')) > names.length ? true : undefined,
      );
    handles = await Promise.all(cluster.agents.map(openHandles));
    // All at once, each with an image of its own: they have nothing to do with each other.
    for (const [at, name] of names.entries()) {
      const image = await putImageBytes(
        registry,
        `spoiled-${at}`,
        LAYERS.map((bytes) => bytes + at),
      );
      images.push(image);
      peers.get(name)!.peer.image = image;
    }
    await cluster.list(...images.map(({ reference }) => reference));
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  async function blobsIn(directory: string): Promise<ReadonlyMap<string, string>> {
    const files = await readdir(directory);
    const entries = files.map(async (name): Promise<[string, string]> => [
      name,
      digestOf(await readFile(join(directory, name))).slice(7),
    ]);
    return new Map(await Promise.all(entries));
  }

  /** Ready, or failed with a code: then it becomes ready when the peer is gone. */
  async function expectEnd(reference: string, peer: MaliciousPeer): Promise<void> {
    const [first] = cluster.agents as [AgentProcess];
    const end = await first.wait('at an end', READY_MS, async () =>
      (await first.images()).find(({ image, state }) => image === reference && /ready|failed/.test(state)),
    );
    expect([undefined, 'timeout']).toContain(end.reason);
    if (end.state === 'failed') await peer.stop();
  }

  it.each(names)(
    'sends %s: the image is right all the same',
    async (name) => {
      const { peer, named } = peers.get(name)!;
      const image = images[names.indexOf(name)]!;
      tally('bad inputs tried');
      if (named.mayHoldUp) await expectEnd(image.reference, peer);
      await Promise.all(cluster.agents.map((agent) => agent.until(image.reference, 'ready', READY_MS)));
      expect(peer.asked.get(named.asked) ?? 0).toBeGreaterThan(0);
      for (const agent of cluster.agents) {
        const blobs = await blobsIn(join(agent.storeDirectory, 'blobs', 'sha256'));
        for (const digest of image.blobs.keys()) expect(blobs.get(digest.slice(7))).toBe(digest.slice(7));
      }
      if (named.corrupt) {
        const counts = cluster.agents.map((agent) =>
          agent.metric('peer_fetch_failed_total', `peer="${peer.name}",reason="corrupt"`),
        );
        expect(Math.max(...(await Promise.all(counts)))).toBeGreaterThan(0);
      }
    },
    READY_MS,
  );

  it(
    'gets no wrong byte committed, nobody sent anywhere, and nothing kept',
    async () => {
      for (const agent of cluster.agents) {
        const stored = await blobsIn(join(agent.storeDirectory, 'blobs', 'sha256'));
        const wrong = [...stored].filter(([file, hash]) => file !== hash);
        const wrongInRuntime = await wrongBlobs(agent);
        tally('wrong bytes committed', wrong.length + wrongInRuntime.length);
        expect([...wrong, ...wrongInRuntime]).toEqual([]);
        const ours = new Set(
          images.flatMap(({ blobs }) => [...blobs.keys()].map((digest) => digest.slice(7))),
        );
        expect([...stored.keys()].filter((file) => !ours.has(file))).toEqual([]);
        await agent.wait('rid of what was not finished', READY_MS, async () =>
          (await readdir(join(agent.storeDirectory, 'partial'))).length === 0 ? true : undefined,
        );
      }
      expect(trap.visits).toBe(0);
    },
    READY_MS,
  );

  it(
    'costs no memory and no handle, and nothing that nobody foresaw',
    async () => {
      for (const [at, agent] of cluster.agents.entries()) {
        const peak = await peakBytes(agent);
        process.stdout.write(`${agent.node} among malicious peers: at most ${Math.round(peak / MIB)} MiB\n`);
        expect(peak).toBeLessThan(MAX_PEAK_BYTES);
        expect(await unforeseen(agent)).toEqual([]);
        await cluster.list();
        await handlesBackTo(agent, handles[at]!);
        expect((await agent.log()).includes('what an upstream says')).toBe(false);
      }
    },
    READY_MS,
  );

  async function peakBytes({ pid }: AgentProcess): Promise<number> {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }
});
