import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

import { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';

const START_MS = 60_000;
const LOOSE_ENDS = pathToFileURL(join(__dirname, '../support/loose-ends.mjs')).href;

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

async function logOf(agent: AgentProcess): Promise<LogLine[]> {
  return (await agent.log()).split('\n').flatMap((line) => {
    return line.startsWith('{') ? [JSON.parse(line) as LogLine] : [];
  });
}

async function answers(agent: AgentProcess): Promise<true | undefined> {
  return (await agent.get('/health')).ok || undefined;
}

describe('The process of an agent', () => {
  const cleanup = new Cleanup();
  const prepare = (node: string, environment: Readonly<Record<string, string>> = {}): Promise<AgentProcess> =>
    cleanup.track(
      AgentProcess.prepare({ node, environment: { RUNTIME: 'directory', ...environment } }),
      (agent) => agent.dispose(),
    );
  const begin = async (agent: AgentProcess): Promise<AgentProcess> => {
    agent.start();
    await agent.wait('answering', START_MS, () => answers(agent));
    return agent;
  };

  afterEach(() => cleanup.run(), START_MS);

  it(
    'says once that it has started, as whom, where and on what, and which settings deserve a look',
    async () => {
      const agent = await begin(await prepare('node-1', { INTERVALL: '5s' }));
      await agent.wait('announced', START_MS, async () =>
        (await agent.log()).includes('PEER_AUTH=none') ? true : undefined,
      );
      const lines = await logOf(agent);
      expect(lines.filter(({ msg }) => msg === 'agent started')).toMatchObject([
        {
          level: 30,
          node: 'node-1',
          address: agent.address,
          runtime: 'directory',
          version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
        },
      ]);
      expect(lines.filter(({ warning }) => warning !== undefined).map(({ warning }) => warning)).toEqual([
        'INTERVALL is not a setting and is ignored; did you mean INTERVAL?',
        expect.stringContaining('PEER_AUTH=none: every local process') as string,
      ]);
    },
    START_MS,
  );

  it(
    'exits with 78 and one message that names every bad setting, its value and what is accepted',
    async () => {
      const bad = {
        PORT: '99999',
        MIRROR_PORT: '0x50',
        INTERVAL: '5 minutes',
        STORE_MAX_SIZE: '-1',
        MIN_FREE_DISK: '120%',
        RUNTIME: 'podman',
        LOCK_BACKEND: 'etcd',
        PEER_AUTH: 'maybe',
        PEERS: 'node-2',
        LOG_LEVEL: 'loud',
        PREHEAT_CONCURRENCY: '0',
        READ_AUTH: 'yes please',
      };
      const agent = await prepare('node-1', bad);
      agent.start();
      expect(await agent.exit(START_MS)).toBe(78);
      const message = await agent.log();
      for (const [name, value] of Object.entries(bad)) {
        expect(message).toMatch(new RegExp(`^  ${name}: received "${value}"; accepted: .{3,}$`, 'm'));
      }
      expect(message).toMatch(/^The configuration cannot be used \(12 problems\):/);
      await expect(stat(agent.storeDirectory)).rejects.toMatchObject({ code: 'ENOENT' });
    },
    START_MS,
  );

  it(
    'exits with 1 and a clear message when another agent has its port or its store, which goes on unharmed',
    async () => {
      const first = await begin(await prepare('node-1'));
      const before = await readdir(first.storeDirectory);
      const rivals = [
        { MIRROR_PORT: String(first.mirrorPort), STORE_DIR: first.storeDirectory },
        { PORT: String(first.port) },
        { STORE_DIR: first.storeDirectory },
      ];
      const messages: string[] = [];
      for (const [index, environment] of rivals.entries()) {
        const second = await prepare(`rival-${index}`, environment);
        second.start();
        expect(await second.exit(START_MS)).toBe(1);
        // The logger writes for itself, before or after.
        const lines = (await second.log()).trim().split('\n');
        messages.push(lines.findLast((line) => !line.startsWith('{')) ?? '');
      }
      expect(messages).toEqual([
        expect.stringMatching(
          new RegExp(`^MIRROR_PORT ${first.mirrorPort} on 127.0.0.1 is taken by another`),
        ) as string,
        expect.stringMatching(new RegExp(`^PORT ${first.port} on 127.0.0.1 is taken by another`)) as string,
        `STORE_DIR ${first.storeDirectory} belongs to another agent, process ${first.pid}; give each agent its own`,
      ]);
      expect(await readdir(first.storeDirectory)).toEqual(before);
      expect((await first.get('/health/ready')).status).toBe(200);
      await expect(fetch(`http://127.0.0.1:${first.mirrorPort}/v2/`)).resolves.toMatchObject({ status: 200 });
      expect(await first.end()).toBeLessThan(10_000);
    },
    START_MS,
  );

  it(
    'ends at once when asked to while it starts, at whatever point, and the next start works',
    async () => {
      const agent = await prepare('node-1');
      const startedMs = performance.now();
      await begin(agent);
      const startMs = performance.now() - startedMs;
      await agent.end();
      for (const part of [0.3, 0.6, 0.75, 0.9]) {
        agent.start();
        await delay(startMs * part);
        expect(await agent.end()).toBeLessThan(5_000);
        // Before its first line of code ran, the kernel ends it; after that, it ends in order.
        expect([0, 'SIGTERM']).toContain(await agent.exit(0));
      }
      await begin(agent);
      expect(await agent.log()).not.toContain('"level":50');
    },
    START_MS,
  );

  it(
    'logs a promise that nobody waited for and goes on; stops in order on an exception that nobody caught',
    async () => {
      const agent = await begin(await prepare('node-1', { NODE_OPTIONS: `--import=${LOOSE_ENDS}` }));
      process.kill(agent.pid, 'SIGUSR2');
      const logged = (text: string): Promise<LogLine> =>
        agent.wait(text, START_MS, async () => (await logOf(agent)).find(({ msg }) => msg.includes(text)));
      expect(await logged('a promise was rejected')).toMatchObject({
        level: 50,
        err: { message: 'a loose end' },
      });
      expect((await agent.get('/health')).status).toBe(200);

      process.kill(agent.pid, 'SIGHUP');
      expect(await agent.exit(10_000)).toBe(1);
      const last = (await logOf(agent)).find(({ msg }) => msg.includes('nobody caught'));
      expect(last).toMatchObject({ level: 60, err: { message: 'thrown in nowhere' } });
      expect(await readdir(agent.storeDirectory)).not.toContain('.lock');
    },
    START_MS,
  );
});
