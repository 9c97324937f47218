import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { formatBytes } from '../common/units.js';
import { platformOfProcess } from '../domain/platform.js';
import { DemoAgent, type DemoImageStatus } from './demo-agent.js';
import { addDemoImage } from './demo-image.js';
import { freePorts } from './free-ports.js';
import { DemoRegistry } from './registry/demo-registry.js';
import { formatTable } from './table.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const MIB = 1024 * 1024;
const LAYERS = [24, 16, 12, 8, 4, 2].map((mebibytes) => mebibytes * MIB);
const LIMIT_MS = 180_000;
const POLL_MS = 500;
const RATE = '60MiB';

/** A registry, three nodes, one image: who gave which bytes. Exits 0 when every node has the image, read once from the registry. */
async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'image-preheat-demo-'));
  const registry = await DemoRegistry.start({
    directory: join(directory, 'registry'),
    bandwidthBytesPerSecond: 40 * MIB,
  });
  const agents: DemoAgent[] = [];
  try {
    const image = `${registry.host}/demo/app:1.0`;
    const { architecture } = platformOfProcess(process.platform, process.arch);
    const uniqueBytes = await addDemoImage(registry.content, {
      repository: 'demo/app',
      tag: '1.0',
      layerBytes: LAYERS,
      architecture,
    });
    console.log(
      `A registry on ${registry.host} has ${image}: ${LAYERS.length} layers, ${formatBytes(uniqueBytes)}.`,
    );
    console.log(`Three agents on loopback start with empty stores; each node's runtime is an OCI layout.\n`);
    agents.push(...(await startAgents(directory, image)));
    const statuses = await untilReady(agents);
    process.exitCode = await report(agents, statuses, registry, uniqueBytes);
  } finally {
    await Promise.all(agents.map((agent) => agent.stop()));
    await registry.stop();
    if (process.exitCode === 0) await rm(directory, { recursive: true, force: true });
    else console.error(`Logs and stores are kept in ${directory}`);
  }
}

async function startAgents(directory: string, image: string): Promise<DemoAgent[]> {
  const ports = await freePorts(2 * NODES.length);
  const list = join(directory, 'images.list');
  const peerKey = join(directory, 'peer-key');
  const apiToken = join(directory, 'api-token');
  const archives = join(directory, 'archives');
  await mkdir(archives);
  await writeFile(list, `${image}\n`);
  await writeFile(peerKey, randomBytes(32).toString('hex'));
  await writeFile(apiToken, randomBytes(24).toString('hex'));
  const environment = {
    RUNTIME: 'directory',
    IMAGE_LIST_PATH: list,
    MOUNT_DIR: archives,
    LOCK_BACKEND: 'file',
    LOCK_FILE: join(directory, 'lock.json'),
    PEER_DISCOVERY: 'static',
    PEERS: ports
      .slice(0, NODES.length)
      .map((port) => `127.0.0.1:${port}`)
      .join(','),
    PEER_DISCOVERY_INTERVAL: '2s',
    PEER_KEY_FILE: peerKey,
    API_TOKEN_FILE: apiToken,
    DOWNLOAD_RATE_LIMIT: RATE,
    MIN_FREE_DISK: '256MiB',
    STORE_MAX_SIZE: '1GiB',
  };
  return Promise.all(
    NODES.map((node, index) =>
      DemoAgent.start({
        node,
        directory: join(directory, node),
        port: ports[index] ?? 0,
        mirrorPort: ports[NODES.length + index] ?? 0,
        environment,
      }),
    ),
  );
}

/** Prints a line whenever something changed. @throws when it takes too long or an agent dies */
async function untilReady(agents: readonly DemoAgent[]): Promise<(DemoImageStatus | undefined)[]> {
  const deadline = Date.now() + LIMIT_MS;
  let shown = '';
  while (Date.now() < deadline) {
    const statuses = await Promise.all(agents.map(async (agent) => (await agent.images())?.[0]));
    const line = statuses
      .map((status, index) => `${agents[index]?.node ?? ''}: ${describe(status)}`)
      .join('   ');
    if (line !== shown) console.log(line);
    shown = line;
    if (statuses.every((status) => status?.state === 'ready')) return statuses;
    await delay(POLL_MS);
  }
  throw new Error(`not every node was ready after ${LIMIT_MS / 1000} s`);
}

function describe(status: DemoImageStatus | undefined): string {
  if (!status) return 'starting';
  const { state, bytesDone, bytesTotal, reason } = status;
  if (state === 'fetching' && bytesTotal > 0)
    return `fetching ${Math.floor((100 * bytesDone) / bytesTotal)} %`;
  return reason === undefined ? state : `${state} (${reason})`;
}

/** @returns the exit code */
async function report(
  agents: readonly DemoAgent[],
  statuses: readonly (DemoImageStatus | undefined)[],
  registry: DemoRegistry,
  uniqueBytes: number,
): Promise<number> {
  const rows = await Promise.all(
    agents.map(async (agent, index) => [
      agent.node,
      statuses[index]?.image ?? '',
      statuses[index]?.source ?? '',
      formatBytes(await agent.counter('image_preheat_registry_bytes_total')),
      formatBytes(await agent.counter('image_preheat_peer_received_bytes_total')),
    ]),
  );
  console.log(`\n${formatTable(['NODE', 'IMAGE', 'SOURCE', 'FROM REGISTRY', 'FROM PEERS'], rows)}\n`);
  const sentBytes = [...registry.ledger.blobBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  const ratio = sentBytes / uniqueBytes;
  console.log(
    `Blob bytes the registry sent ÷ unique blob bytes: ${formatBytes(sentBytes)} ÷ ${formatBytes(uniqueBytes)} = ${ratio.toFixed(2)}`,
  );
  return sentBytes === uniqueBytes ? 0 : 1;
}

await main();
