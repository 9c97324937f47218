import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';

import type { V1PodSpec } from '@kubernetes/client-node';
import type { Container } from 'dockerode';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { startDemoRegistry } from '../support/demo-images.js';
import { expectNoneWrong, IS_FULL_PROFILE, wrongBlobsIn } from '../support/directory-cluster.js';
import { DockerEngine } from '../support/docker-engine.js';
import { canCreate } from '../support/engine-images.js';
import { describeWith } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';
import { ImageBuilder } from '../support/image-builder.js';
import { assembleImage } from '../support/image-filesystem.js';
import { describeWithKubectl, findManifest, render } from '../support/kubectl.js';
import { MemoryGroup } from '../support/memory-group.js';
import { pushImage } from '../support/push-image.js';
import { containerOf } from '../support/shipped-pod.js';

const run = promisify(execFile);
const K8S = resolve(__dirname, '../../k8s');
const MIB = 1024 * 1024;
const LAYER_BYTES = IS_FULL_PROFILE ? 5e9 : 3e8;
const READY_MS = IS_FULL_PROFILE ? 900_000 : 180_000;
const CASE_MS = 2 * READY_MS;
const IMAGE = 'image-preheat:shipped';
/** Where the engine itself gives every container something to write to, none of it on a disk. */
const IN_MEMORY = new Set(['tmpfs', 'proc', 'mqueue', 'devpts', 'cgroup', 'cgroup2', 'sysfs']);

/** Tries to make a file on everything that is mounted in the container, and says what came of it. */
const TRY_EVERYWHERE = `
  const fs = require('node:fs');
  const lines = fs.readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\\n');
  const tried = lines.map((line) => {
    const [mount, source] = line.split(' - ');
    const [point, type] = [mount.split(' ')[4], source.split(' ')[0]];
    const file = point.replace(/\\/?$/, '/.tried');
    try {
      fs.writeFileSync(file, '');
      fs.unlinkSync(file);
      return { point, type, outcome: 'written' };
    } catch ({ code }) {
      return { point, type, outcome: code };
    }
  });
  console.log(JSON.stringify(tried));`;

interface Tried {
  readonly point: string;
  readonly type: string;
  readonly outcome: string;
}

describeWith(['dockerd', 'docker'], 'The container as it is shipped', () => {
  describeWithKubectl('as a Docker Engine runs it', () => {
    const cleanup = new Cleanup();
    let engine: DockerEngine;
    let registry: DemoRegistry;
    let pod: V1PodSpec;
    /** Where the container's agent is reached, and its files are; it is never started as a process of this machine. */
    let agent: AgentProcess;
    let container: Container;
    let pid: number;
    let memory: MemoryGroup;

    beforeAll(async () => {
      const directory = await cleanup.track(mkdtemp(join(tmpdir(), 'shipped-')), (made) =>
        rm(made, { recursive: true, force: true }),
      );
      engine = await cleanup.track(DockerEngine.start(), (started) => started.stop());
      registry = await startDemoRegistry(cleanup, { directory: join(directory, 'registry') });
      agent = await cleanup.track(AgentProcess.prepare({ node: 'shipped', environment: {} }), (made) =>
        made.dispose(),
      );
      await importImage(join(directory, 'image'));
      pod = findManifest(await render(K8S), 'DaemonSet').spec!.template.spec!;
      container = await cleanup.track(createContainer(directory), (made) => made.remove({ force: true }));
      await container.start();
      pid = (await container.inspect()).State.Pid;
      memory = await MemoryGroup.of(pid);
      await agent.wait('listening', READY_MS, () => agent.get('/health'));
    }, CASE_MS);
    afterAll(() => cleanup.run(), CASE_MS);

    async function importImage(root: string): Promise<void> {
      const changes = await assembleImage(root);
      const archive = `${root}.tar`;
      await run('tar', ['-C', root, '-cf', archive, '.']);
      const options = changes.flatMap((change) => ['--change', change]);
      await run('docker', ['-H', engine.host, 'import', ...options, archive, IMAGE]);
      await rm(archive);
    }

    async function createContainer(directory: string): Promise<Container> {
      const empty = join(directory, 'empty');
      const list = join(directory, 'list');
      const tmp = join(directory, 'tmp');
      for (const made of [empty, list, tmp, agent.storeDirectory]) await mkdir(made);
      await writeFile(join(list, 'images.list'), '');
      const dockerRoot = join(engine.directory, 'data');
      return engine.client.createContainer(
        containerOf(pod, IMAGE, {
          fields: {
            'spec.nodeName': 'node-1',
            'status.podIP': '127.0.0.1',
            'metadata.namespace': 'image-preheat',
          },
          volumes: {
            tmp: { source: tmp },
            store: { source: agent.storeDirectory },
            list: { source: list },
            archives: { source: empty },
            registry: { source: empty },
            'docker-socket': { source: engine.socketPath },
            // As the overlay says for nodes with another Docker Root Dir.
            'docker-root': { source: join(dockerRoot, 'network'), target: dockerRoot },
            'docker-certs': { source: empty },
          },
          // Ports that are free here, no cluster, and room as other suites ask for it.
          environment: {
            PORT: String(agent.port),
            MIRROR_PORT: String(agent.mirrorPort),
            MIN_FREE_DISK: '256MiB',
            INTERVAL: '2s',
          },
        }),
      );
    }

    /** One layer that is as large unpacked as it is packed. */
    async function pushLayer(): Promise<string> {
      const builder = await cleanup.track(ImageBuilder.create(), (made) => made.dispose());
      const layer = { seed: 'large', sizeBytes: LAYER_BYTES, compressible: 0, files: 1 };
      const image = await builder.image({ layers: [{ ...layer, compression: 'none' }] });
      await pushImage(image, registry.url, 'team/large', ['1']);
      // Twice as much room would be needed for the rest of the run.
      await builder.dispose();
      return `${registry.host}/team/large:1`;
    }

    async function statusOf(field: string): Promise<string> {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      return new RegExp(`^${field}:\\s+(.+)$`, 'm').exec(status)?.[1] ?? '';
    }

    /** Paths that are another's than the image's; Docker makes a mount's place where the image has none. */
    async function changedPaths(): Promise<string[]> {
      const mounts = (await container.inspect()).Mounts.map(({ Destination }) => `${Destination}/`);
      const changes = ((await container.changes()) ?? []) as { Path: string }[];
      return changes
        .map(({ Path }) => Path)
        .filter((path) => !mounts.some((mount) => mount.startsWith(`${path}/`)));
    }

    it('runs as uid 0 with nothing else: no capability, no new privileges, a filter of system calls', async () => {
      const fields = ['Uid', 'Gid', 'CapEff', 'CapPrm', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp'];
      const values = await Promise.all(fields.map(statusOf));
      const none = '0000000000000000';
      expect(values.map((value) => value.split('\t')[0])).toEqual([
        '0',
        '0',
        none,
        none,
        none,
        none,
        '1',
        '2',
      ]);
      expect(await memory.limitBytes()).toBe(1024 * MIB);
    });

    it(
      'passes a large layer within its memory',
      async () => {
        await survive(`container: ${LAYER_BYTES / 1e9} GB layer within 1 GiB`, async () => {
          const image = await pushLayer();
          const list = (await container.inspect()).Mounts.find(
            ({ Destination }) => Destination === '/etc/preheater',
          );
          await writeFile(join(list!.Source, 'images.list'), `${image}\n`);
          await agent.until(image, 'ready', READY_MS);
          expect(await canCreate(engine, image)).toBe(true);
          expectNoneWrong(await wrongBlobsIn(join(agent.storeDirectory, 'blobs', 'sha256')));

          const { State } = await container.inspect();
          expect(State).toMatchObject({ Running: true, OOMKilled: false, Pid: pid });
          expect(await memory.kills()).toBe(0);
          const peakMiB = (await memory.peakBytes()) / MIB;
          const residentMiB = Number.parseInt(await statusOf('VmHWM'), 10) / 1024;
          return `no OOM kill; at most ${residentMiB.toFixed(0)} MiB resident, ${peakMiB.toFixed(0)} MiB with page cache`;
        });
      },
      CASE_MS,
    );

    it(
      'can write to its store and to /tmp, to no other disk, and has written to its store alone',
      async () => {
        await survive('container: writes outside STORE_DIR and /tmp', async () => {
          expect(await changedPaths()).toEqual([]);
          const options = ['-H', engine.host, 'exec', container.id, 'node', '-e', TRY_EVERYWHERE];
          const tried = JSON.parse((await run('docker', options)).stdout) as Tried[];
          expect(tried.find(({ point }) => point === '/')).toMatchObject({ outcome: 'EROFS' });
          const onDisk = tried.filter(({ type, outcome }) => outcome === 'written' && !IN_MEMORY.has(type));
          expect(onDisk.map(({ point }) => point).sort()).toEqual(['/tmp', '/var/lib/image-preheat']);
          expect(await changedPaths()).toEqual([]);
          const tmp = (await container.inspect()).Mounts.find(({ Destination }) => Destination === '/tmp');
          // The place of a mount, for this engine's root is in a temporary directory, too.
          expect(await readdir(tmp!.Source)).toEqual([basename(engine.directory)]);
          return `${tried.length} mounts tried; \`docker diff\` is empty`;
        });
      },
      CASE_MS,
    );

    it(
      'ends within its grace period when it is told to',
      async () => {
        await container.stop({ t: pod.terminationGracePeriodSeconds! });
        const { State } = await container.inspect();
        expect(State).toMatchObject({ Running: false, ExitCode: 0, OOMKilled: false });
      },
      CASE_MS,
    );
  });
});
