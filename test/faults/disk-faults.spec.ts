import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import { expectRightBlobs, prepareDirectoryCluster } from '../support/directory-cluster.js';
import { describeUnless } from '../support/engines.js';
import { survive } from '../support/fault-scene.js';

const run = promisify(execFile);
const READY_MS = 120_000;
const CASE_MS = 2 * READY_MS;
const MIB = 1024 * 1024;
const DISK_MIB = 16;
const cannotMount =
  process.platform === 'linux' && process.getuid?.() === 0
    ? undefined
    : 'mounting a tmpfs needs root on Linux';

describeUnless(cannotMount, 'Faults of the disk', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;

  beforeAll(async () => {
    registry = await startDemoRegistry(cleanup);
    await addImage(registry, 'team/small', 200_000);
    // Half of it can be compressed, so it takes about half.
    await addImage(registry, 'team/large', 15 * MIB);
  }, CASE_MS);
  afterAll(() => cleanup.run(), CASE_MS);

  async function agentOn(directoryOf: (agent: AgentProcess) => string): Promise<[AgentProcess, string]> {
    const cluster = await prepareDirectoryCluster(cleanup, 1, { MIN_FREE_DISK: '1MiB', STORE_MAX_SIZE: '0' });
    const [agent] = cluster.agents as [AgentProcess];
    const disk = directoryOf(agent);
    await mkdir(disk, { recursive: true });
    await cleanup.track(run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'tmpfs', disk]), () =>
      // Whatever still has a file of it open has been ended by then, or will be: it is for the kernel to wait.
      run('umount', ['--lazy', disk]),
    );
    agent.start();
    return [agent, disk];
  }

  it.each([
    ['store', (agent: AgentProcess) => agent.storeDirectory],
    ['runtime', (agent: AgentProcess) => join(agent.storeDirectory, 'runtime')],
  ])(
    'the file system of the %s is too small for an image: it says so, and fetches it when there is room',
    async (what, directoryOf) => {
      await survive(`disk: too small for the ${what}`, async () => {
        const [agent, disk] = await agentOn(directoryOf);
        const [small, large] = [`${registry.host}/team/small:1.0`, `${registry.host}/team/large:1.0`];
        await agent.list(large, small);
        await agent.until(small, 'ready', READY_MS);
        const { reason = '', message = '' } = await agent.until(large, 'failed', READY_MS);
        expect(['insufficient_disk', 'store_full', 'runtime_error']).toContain(reason);
        expect(message).not.toBe('');
        await run('mount', ['-o', `remount,size=${20 * DISK_MIB}m`, disk]);
        await agent.until(large, 'ready', READY_MS);
        await expectRightBlobs([agent]);
        return `${reason}: "${message.slice(0, 90)}"; ready once there is room`;
      });
    },
    CASE_MS,
  );
});
