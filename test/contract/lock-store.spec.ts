import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { systemClock } from '../../src/common/clock.js';
import { KubernetesClient } from '../../src/kubernetes/kubernetes-client.js';
import { FileLockStore } from '../../src/lock/file/file-lock-store.js';
import { KubernetesLockStore } from '../../src/lock/kubernetes/kubernetes-lock-store.js';
import { MemoryLockStore } from '../../src/lock/memory/memory-lock-store.js';
import { describeWithCluster } from '../support/kubernetes-cluster.js';
import { KubernetesLab } from '../support/kubernetes-lab.js';
import { describeLockStore } from './lock-store.contract.js';

jest.setTimeout(60_000);

const { signal } = new AbortController();

describe('memory lock store', () => {
  describeLockStore(() => {
    const store = new MemoryLockStore();
    return Promise.resolve({ clients: [store, store], dispose: () => Promise.resolve() });
  });
});

describe('file lock store', () => {
  let directory: string;

  describeLockStore(async () => {
    directory = await mkdtemp(join(tmpdir(), 'preheat-lock-'));
    const path = join(directory, 'locks.json');
    return {
      clients: [new FileLockStore(path, systemClock), new FileLockStore(path, systemClock)],
      dispose: () => rm(directory, { recursive: true }),
    };
  });

  it('leaves nothing beside its file', async () => {
    expect(await readdir(directory)).toEqual(['locks.json']);
  });
});

describeWithCluster('kubernetes lock store', () => {
  const lab = new KubernetesLab();
  const clients: KubernetesClient[] = [];
  const storeFor = (configMap: string, namespace = lab.namespace): KubernetesLockStore => {
    const client = new KubernetesClient(
      {
        inCluster: false,
        kubernetes: { namespace, lockConfigMap: configMap, keySecret: 'key' },
      },
      systemClock,
    );
    clients.push(client);
    return new KubernetesLockStore(client, configMap);
  };
  const clientOf = () => {
    storeFor('unused');
    return clients.at(-1)!;
  };

  beforeAll(() => lab.open());
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.onApplicationShutdown()));
    await lab.close();
  });

  describeLockStore(async () => {
    await lab.createConfigMap('lock', { v: '1' });
    return { clients: [storeFor('lock'), storeFor('lock')], dispose: () => Promise.resolve() };
  });

  it('shows no keys but those of records', async () => {
    await lab.createConfigMap('foreign', { v: '1', note: 'hand-made', ['a'.repeat(32)]: 'record' });
    expect(await storeFor('foreign').read('any', signal)).toEqual(new Map([['a'.repeat(32), 'record']]));
  });

  it('reports a full ConfigMap as lock_full, and a lost race there as a lost race', async () => {
    const values = Array.from({ length: 1023 }, (_, index) => [`k${index}`, 'x'.repeat(1024)] as const);
    const taken = 'b'.repeat(32);
    await lab.createConfigMap('full', { v: '1', [taken]: 'r', ...Object.fromEntries(values) });
    const store = storeFor('full');
    const record = 'r'.repeat(512);
    expect(await store.compareAndSwap('1'.repeat(32), undefined, record, signal)).toBe(true);
    await expect(
      store.compareAndSwap('2'.repeat(32), undefined, 'r'.repeat(512), signal),
    ).rejects.toMatchObject({ reason: 'lock_full' });
    expect(await store.compareAndSwap(taken, 'other', record, signal)).toBe(false);
  });

  it('reports a ConfigMap that cannot be written, or is not there, as lock_unavailable with the reason', async () => {
    const key = 'c'.repeat(32);
    await lab.createConfigMap('empty', {});
    await expect(storeFor('empty').compareAndSwap(key, undefined, 'r', signal)).rejects.toMatchObject({
      reason: 'lock_unavailable',
      message: 'ConfigMap empty cannot be written: its data is empty: it must be shipped with the key v',
    });
    await lab.createConfigMap('immutable', { v: '1' }, { immutable: true });
    await expect(storeFor('immutable').compareAndSwap(key, undefined, 'r', signal)).rejects.toMatchObject({
      reason: 'lock_unavailable',
    });
    await expect(storeFor('absent').read('any', signal)).rejects.toMatchObject({
      reason: 'lock_unavailable',
    });
    await expect(storeFor('absent').compareAndSwap(key, undefined, 'r', signal)).rejects.toMatchObject({
      reason: 'lock_unavailable',
    });
  });

  it('creates a Secret once, and reads it', async () => {
    const client = clientOf();
    const data = { 'peer-key': Buffer.from([0, 255, 10]), 'api-token': Buffer.from('token') };
    expect(await client.readSecret('key', signal)).toBeUndefined();
    expect(await client.createSecret('key', data, signal)).toBe('created');
    expect(await client.createSecret('key', { 'peer-key': Buffer.from('x') }, signal)).toBe('exists');
    expect(await client.readSecret('key', signal)).toEqual(data);
  });
});
