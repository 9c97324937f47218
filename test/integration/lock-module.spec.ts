import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';

import type { AppConfig } from '../../src/config/app-config.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { FileLockStore } from '../../src/lock/file/file-lock-store.js';
import { HolderProbe } from '../../src/lock/holder-probe.js';
import { KnownNodes } from '../../src/lock/known-nodes.js';
import { KubernetesLockStore } from '../../src/lock/kubernetes/kubernetes-lock-store.js';
import { LockIdentity } from '../../src/lock/lock-identity.js';
import { LockModule } from '../../src/lock/lock.module.js';
import { LockService } from '../../src/lock/lock.service.js';
import { LockStore } from '../../src/lock/lock-store.js';
import { MemoryLockStore } from '../../src/lock/memory/memory-lock-store.js';
import { RecordCache } from '../../src/lock/record-cache.js';
import { RecordKey } from '../../src/lock/record-key.js';
import { MetricsModule } from '../../src/metrics/metrics.module.js';
import { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { MemoryRecordCache } from '../support/lock-node.js';

jest.setTimeout(60_000);

const KEY = { image: 'docker.io/library/app:1', platform: 'linux/amd64' };

@Module({})
class NothingModule {}

describe('LockModule', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'preheat-lock-module-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  function moduleWith(backend: AppConfig['lock']['backend']) {
    const config = {
      inCluster: false,
      nodeName: 'one',
      tagTtlMs: 1000,
      kubernetes: { namespace: 'ns', lockConfigMap: 'lock', keySecret: 'key' },
      lock: { backend, timeoutMs: 30_000, file: join(directory, 'locks.json') },
    } as unknown as AppConfig;
    return Test.createTestingModule({
      imports: [
        ConfigModule.forRoot(config),
        MetricsModule,
        LockModule.register({
          imports: [NothingModule],
          providers: [
            { provide: LockIdentity, useValue: { node: 'one', instance: 'i', address: '127.0.0.1:1' } },
            {
              provide: RecordKey,
              useValue: { current: () => Promise.resolve([Buffer.alloc(32, 1)]), suspect: () => undefined },
            },
            { provide: HolderProbe, useValue: { probe: () => Promise.resolve('silent') } },
            { provide: KnownNodes, useValue: { nodes: () => [] } },
            { provide: RecordCache, useClass: MemoryRecordCache },
          ],
        }),
      ],
    }).compile();
  }

  it('takes the store that LOCK_BACKEND names', async () => {
    const stores = { memory: MemoryLockStore, file: FileLockStore, kubernetes: KubernetesLockStore } as const;
    for (const backend of ['memory', 'file', 'kubernetes'] as const) {
      const module = await moduleWith(backend);
      expect(module.get(LockStore, { strict: false })).toBeInstanceOf(stores[backend]);
      await module.close();
    }
  });

  it('gives leases, counts them, and gives them back when the application closes', async () => {
    const module = await moduleWith('file');
    await module.init();
    const lock = module.get(LockService, { strict: false });
    const lockHeld = jest.spyOn(module.get(PreheatMetrics, { strict: false }), 'lockHeld');
    const { signal } = new AbortController();
    const lease = await lock.acquire(KEY, signal);
    expect(lease?.mayReadRegistry()).toBe(true);
    expect(lockHeld.mock.calls).toEqual([[KEY.image, true]]);
    await module.close();
    expect(lease?.mayReadRegistry()).toBe(false);
    expect(lockHeld.mock.calls.at(-1)).toEqual([KEY.image, false]);
    const again = await moduleWith('file');
    expect((await again.get(LockService, { strict: false }).lookup(KEY, signal)).holder).toBeUndefined();
    await again.close();
  });
});
