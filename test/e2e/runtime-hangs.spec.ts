import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { systemClock } from '../../src/common/clock.js';
import { recordKeyOf } from '../../src/lock/image-key.js';
import { FileLockStore } from '../../src/lock/file/file-lock-store.js';
import { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';

const START_MS = 60_000;

/** A Docker Engine without images that stops answering when told to, as one does whose disk hangs. */
class FreezingEngine {
  /** Requests that came since, and are not answered. */
  unanswered = 0;
  private isFrozen = false;
  private readonly server = createServer((request, response) => {
    if (this.isFrozen) this.unanswered += 1;
    else response.end(request.url?.startsWith('/images/json') ? '[]' : '{}');
  });

  async start(): Promise<this> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
    return this;
  }

  get host(): string {
    return `tcp://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  freeze(): void {
    this.isFrozen = true;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await promisify(this.server.close.bind(this.server))();
  }
}

describe('An agent beside a Docker Engine that hangs', () => {
  const cleanup = new Cleanup();

  afterAll(() => cleanup.run(), START_MS);

  it(
    'gives its locks back and ends in order, in the middle of a check and of a read from the registry',
    async () => {
      const engine = await cleanup.track(new FreezingEngine().start(), (started) => started.stop());
      const registry = await startDemoRegistry(cleanup);
      await addImage(registry, 'team/app', 64 * 1024);
      registry.faults.add(/team\/app\/blobs/, { kind: 'hang' }, 100);
      const image = `${registry.host}/team/app:1.0`;
      const agent = await cleanup.track(
        AgentProcess.prepare({
          node: 'node-1',
          environment: { RUNTIME: 'docker', DOCKER_HOST: engine.host, LOCK_BACKEND: 'file' },
        }),
        (prepared) => prepared.dispose(),
      );
      const lockFile = join(agent.directory, 'lock.json');
      agent.set('LOCK_FILE', lockFile);
      await agent.list(image);
      agent.start();

      const key = recordKeyOf({ image, platform: `linux/${process.arch === 'x64' ? 'amd64' : 'arm64'}` });
      const locks = new FileLockStore(lockFile, systemClock);
      const record = async (): Promise<string> =>
        (await locks.read('latest', new AbortController().signal)).get(key) ?? '';
      await agent.wait('reading with the lock', START_MS, async () => {
        const isHeld = (await record()).includes('"holder"');
        return (isHeld && registry.ledger.count(/team\/app\/blobs/) > 0) || undefined;
      });
      engine.freeze();
      await agent.wait('in a check', START_MS, () => Promise.resolve(engine.unanswered > 0 || undefined));

      expect(await agent.end()).toBeLessThan(10_000);
      expect(await agent.exit(0)).toBe(0);
      expect(await record()).toContain('"digest"');
      expect(await record()).not.toContain('"holder"');
    },
    2 * START_MS,
  );
});
