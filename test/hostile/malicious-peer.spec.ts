import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { digestOf } from '../../src/domain/digest.js';
import { LayoutIndex } from '../../src/runtime/directory/layout-index.js';
import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { startDemoRegistry } from '../support/demo-images.js';
import { DiskPeak } from '../support/disk-peak.js';
import { prepareDirectoryCluster, wrongBlobs } from '../support/directory-cluster.js';
import { type ImageBytes, putImageBytes } from '../support/image-bytes.js';
import { MaliciousPeer } from '../support/malicious-peer.js';
import type { NamedMalice } from '../support/malice-kit.js';
import { malices } from '../support/malices.js';
import { keyFor } from '../support/session-client.js';
import { tally } from '../support/tally.js';
import { handlesBackTo, openHandles, peakResidentBytes, unforeseen } from '../support/target.js';
import { Trap } from '../support/trap.js';

const SETUP_MS = 180_000;
/** A byte now and then is given up after a chunk's deadline, no answer after ten seconds, three times over. */
const READY_MS = 180_000;
const MIB = 1024 * 1024;
/** A layer of two chunks, and a small one. */
const LAYERS = [1.5 * MIB, 40_000];
/** Half of what k8s/ gives an agent, for some fifty images at once, each of which a peer tries to spoil. */
const MAX_PEAK_BYTES = 512 * MIB;
/** The store and the runtime have an image each; half as much again is on its way, or was found to be wrong. */
const MAX_DISK_FACTOR = 2.5;

describe('A peer that was taken over', () => {
  const cleanup = new Cleanup();
  const names = Object.keys(malices('x'));
  let registry: DemoRegistry;
  let cluster: AgentCluster;
  let trap: Trap;
  let handles: number[];
  const peers = new Map<string, { peer: MaliciousPeer; named: NamedMalice }>();
  const images: ImageBytes[] = [];
  /** Of malices that may hold an image up: its end, waited for beside the others. */
  const ends = new Map<string, Promise<void>>();
  const disks: DiskPeak[] = [];

  beforeAll(async () => {
    trap = await cleanup.track(Trap.start(), (started) => started.stop());
    registry = await startDemoRegistry(cleanup);
    cluster = await prepareDirectoryCluster(cleanup, 2, {
      PREHEAT_CONCURRENCY: '64',
      PULLING_TIMEOUT: '30s',
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
    for (const { storeDirectory } of cluster.agents)
      disks.push(await cleanup.track(Promise.resolve(new DiskPeak(storeDirectory)), (disk) => disk.stop()));
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
    for (const [name, { peer, named }] of peers) {
      if (!named.mayHoldUp) continue;
      const end = expectEnd(peer);
      // Whoever awaits it sees it fail.
      end.catch(() => undefined);
      ends.set(name, end);
    }
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
  async function expectEnd(peer: MaliciousPeer): Promise<void> {
    const [first] = cluster.agents as [AgentProcess];
    const end = await first.wait('at an end', READY_MS, async () =>
      (await first.images()).find(
        ({ image, state }) => image === peer.image?.reference && /ready|failed/.test(state),
      ),
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
      await ends.get(name);
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
    'is not asked again for an image that it sent wrong bytes of',
    async () => {
      const guilty = [...peers.values()].filter(({ named }) => named.corrupt);
      const caught = await Promise.all(cluster.agents.map((agent) => convictedBy(agent, guilty)));
      const most = Math.max(...caught.map(({ length }) => length));
      expect(most).toBeGreaterThan(0);
      const at = caught.findIndex(({ length }) => length === most);
      const [agent, convicted] = [cluster.agents[at]!, caught[at]!];
      const asked = (): (number | undefined)[] => convicted.map(({ askedBy }) => askedBy.get(agent.node));
      const before = asked();
      await loseAndRegain(
        agent,
        convicted.flatMap(({ image }) => image ?? []),
      );
      expect(asked()).toEqual(before);
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
    'costs no memory, no disk and no handle, and nothing that nobody foresaw',
    async () => {
      const needed = images
        .flatMap(({ blobs }) => [...blobs.values()])
        .reduce((sum, { length }) => sum + length, 0);
      for (const [at, agent] of cluster.agents.entries()) {
        const peak = await peakResidentBytes(agent);
        const { peakBytes: disk, samples } = await disks[at]!.stop();
        process.stdout.write(
          `${agent.node} among malicious peers: at most ${Math.round(peak / MIB)} MiB of memory, ${Math.round(disk / MIB)} MiB of disk for images of ${Math.round(needed / MIB)} MiB\n`,
        );
        expect(peak).toBeLessThan(MAX_PEAK_BYTES);
        expect(samples).toBeGreaterThan(10);
        expect(disk).toBeGreaterThan(needed);
        expect(disk).toBeLessThan(MAX_DISK_FACTOR * needed);
        expect(await unforeseen(agent)).toEqual([]);
        await cluster.list();
        await handlesBackTo(agent, handles[at]!);
        expect((await agent.log()).includes('what an upstream says')).toBe(false);
      }
    },
    READY_MS,
  );

  /** Those of `suspects` that this agent itself has caught. */
  async function convictedBy(
    agent: AgentProcess,
    suspects: readonly { peer: MaliciousPeer }[],
  ): Promise<MaliciousPeer[]> {
    const caught = suspects.map(async ({ peer }) =>
      (await agent.metric('peer_fetch_failed_total', `peer="${peer.name}",reason="corrupt"`)) > 0
        ? [peer]
        : [],
    );
    return (await Promise.all(caught)).flat();
  }

  /** Takes images out of an agent's runtime and store, and waits until it has asked for them again and has them. */
  async function loseAndRegain(agent: AgentProcess, lost: readonly ImageBytes[]): Promise<void> {
    const { storeDirectory } = agent;
    for (const digest of lost.flatMap(({ blobs }) => [...blobs.keys()]))
      for (const below of ['blobs', join('runtime', 'blobs')])
        await rm(join(storeDirectory, below, 'sha256', digest.slice(7)), { force: true });
    const runtime = new LayoutIndex(join(storeDirectory, 'runtime'));
    await runtime.change((entries) => {
      for (const { reference } of lost) entries.delete(reference);
    });
    await agent.wait('in possession of what it lost', READY_MS, async () => {
      const entries = await runtime.read();
      return lost.every(({ reference }) => entries.has(reference)) ? true : undefined;
    });
  }
});
