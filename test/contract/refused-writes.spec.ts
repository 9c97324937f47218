import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Logger } from '@nestjs/common';

import { systemClock } from '../../src/common/clock.js';
import { KubernetesClient } from '../../src/kubernetes/kubernetes-client.js';
import { FileLockStore } from '../../src/lock/file/file-lock-store.js';
import { KubernetesLockStore } from '../../src/lock/kubernetes/kubernetes-lock-store.js';
import type { LockStore } from '../../src/lock/lock-store.js';
import { describeWithCluster } from '../support/kubernetes-cluster.js';
import { KubernetesLab } from '../support/kubernetes-lab.js';
import { LockNode } from '../support/lock-node.js';

jest.setTimeout(60_000);

const KEY = { image: 'docker.io/library/app:1', platform: 'linux/amd64' };
const { signal } = new AbortController();

beforeAll(() => {
  Logger.overrideLogger(false);
});

/** The records can be read, so nothing but the swap tells that there is no lock to be had. */
async function expectRefusal(store: LockStore, words: RegExp): Promise<void> {
  const { lock } = new LockNode({ store, clock: systemClock, node: 'one' });
  // A cache of the API server may not know yet what was made a moment ago.
  while ((await lock.lookup(KEY, signal)).readOnly) await systemClock.sleep(100);
  const trying = lock.acquire(KEY, signal);
  await expect(trying).rejects.toMatchObject({ reason: 'lock_unavailable', code: 'LOCK_UNAVAILABLE' });
  await expect(trying).rejects.toThrow(words);
}

describe('LockService on a lock file that cannot be written', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'preheat-refused-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  it.each([
    ['its directory is missing', () => Promise.resolve(join(directory, 'missing', 'locks.json')), /ENOENT/],
    [
      'another kind of file is where its mutex should be',
      async () => {
        const path = join(directory, 'locks.json');
        await mkdir(`${path}.mutex`);
        return path;
      },
      /is not a mutex of this program; remove it/,
    ],
  ])('says so when %s', async (_what, pathOf, words) => {
    await expectRefusal(new FileLockStore(await pathOf(), systemClock), words);
  });
});

describeWithCluster('LockService on a ConfigMap that cannot be written', () => {
  const lab = new KubernetesLab();
  const administrator = process.env['KUBECONFIG'];
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'preheat-refused-'));
    await lab.open();
  });
  afterEach(() => {
    process.env['KUBECONFIG'] = administrator;
  });
  afterAll(async () => {
    await lab.close();
    await rm(directory, { recursive: true });
  });

  async function expectRefusalOf(configMap: string, words: RegExp): Promise<void> {
    const kubernetes = { namespace: lab.namespace, lockConfigMap: configMap, keySecret: 'key' };
    const client = new KubernetesClient({ inCluster: false, kubernetes }, systemClock);
    await expectRefusal(new KubernetesLockStore(client, configMap), words);
    await client.onApplicationShutdown();
  }

  it('says so when it was shipped without a key', async () => {
    await lab.createConfigMap('empty', {});
    await expectRefusalOf('empty', /its data is empty/);
  });

  it('says so when it is immutable', async () => {
    await lab.createConfigMap('immutable', { v: '1' }, { immutable: true });
    await expectRefusalOf('immutable', /422 Invalid.*immutable/);
  });

  it('says so when the Role lacks patch', async () => {
    await lab.createConfigMap('lock', { v: '1' });
    const reading = { apiGroups: [''], resources: ['configmaps'], resourceNames: ['lock'], verbs: ['get'] };
    const kubeconfig = join(directory, 'kubeconfig');
    await lab.writeKubeconfigOf('reader', [reading], kubeconfig);
    process.env['KUBECONFIG'] = kubeconfig;
    await expectRefusalOf('lock', /403 Forbidden/);
  });
});
