import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { unfitCluster } from './kubernetes-cluster.js';

describe('A cluster for tests', () => {
  let directory: string;
  let kubeconfig: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
    kubeconfig = join(directory, 'config');
  });
  afterEach(() => rm(directory, { recursive: true }));

  const write = (server: string): Promise<void> =>
    writeFile(
      kubeconfig,
      JSON.stringify({
        clusters: [{ name: 'c', cluster: { server } }],
        users: [{ name: 'u', user: {} }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    );

  it.each(['https://127.0.0.1:26443', 'https://[::1]:6443', 'http://localhost:8080'])(
    'is one of this machine: %s',
    async (server) => {
      await write(server);
      expect(unfitCluster(kubeconfig)).toBeUndefined();
    },
  );

  it.each(['https://10.0.0.1:6443', 'https://cluster.example', 'https://127.0.0.1.example', 'nonsense'])(
    'is none that people may use: %s',
    async (server) => {
      await write(server);
      expect(unfitCluster(kubeconfig)).toContain(server);
    },
  );

  it('is none that nobody named, or whose file says nothing', async () => {
    expect(unfitCluster(undefined)).toContain('not set');
    expect(unfitCluster(kubeconfig)).toContain(kubeconfig);
    await writeFile(kubeconfig, '{}');
    expect(unfitCluster(kubeconfig)).toContain(kubeconfig);
  });
});
