import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { systemClock } from '../../src/common/clock.js';
import { KubernetesClient } from '../../src/kubernetes/kubernetes-client.js';
import { KubernetesError } from '../../src/kubernetes/kubernetes-error.js';
import { KubernetesLockStore } from '../../src/lock/kubernetes/kubernetes-lock-store.js';

jest.setTimeout(60_000);

/** What a real API server does not do on demand: refuse tokens, stall, break off, answer nonsense. */
describe('Kubernetes client against a server that misbehaves', () => {
  const { signal } = new AbortController();
  const before = process.env['KUBECONFIG'];
  let directory: string;
  let kubeconfig: string;
  let server: Server;
  let client: KubernetesClient;
  let requests: IncomingMessage[];
  let answer: (response: ServerResponse, request: IncomingMessage) => void;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'preheat-kube-'));
    kubeconfig = join(directory, 'config');
    requests = [];
    server = createServer((request, response) => {
      requests.push(request);
      request.resume();
      answer(response, request);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    await writeToken('first');
    process.env['KUBECONFIG'] = kubeconfig;
    client = new KubernetesClient(
      { inCluster: false, kubernetes: { namespace: 'ns', lockConfigMap: 'lock', keySecret: 'key' } },
      systemClock,
    );
  });
  afterEach(async () => {
    if (before === undefined) delete process.env['KUBECONFIG'];
    else process.env['KUBECONFIG'] = before;
    await client.onApplicationShutdown();
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });

  async function writeToken(token: string): Promise<void> {
    const { port } = server.address() as AddressInfo;
    const config = {
      clusters: [
        { name: 'c', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } },
      ],
      users: [{ name: 'u', user: { token } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(kubeconfig, JSON.stringify(config));
  }

  function json(status: number, document: unknown) {
    return (response: ServerResponse) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(document));
    };
  }

  it('asks for one object by name, with the token, from the cache only when that will do', async () => {
    answer = json(200, { data: { v: '1' } });
    expect(await client.readConfigMap('lock', true, signal)).toEqual({ v: '1' });
    expect(await client.readConfigMap('lock', false, signal)).toEqual({ v: '1' });
    const path = '/api/v1/namespaces/ns/configmaps/lock';
    expect(requests.map(({ url }) => url)).toEqual([`${path}?resourceVersion=0`, path]);
    expect(requests[0]?.headers.authorization).toBe('Bearer first');
  });

  it('reads a refused token again from its file, once', async () => {
    answer = json(200, {});
    await client.readConfigMap('lock', true, signal);
    await writeToken('second');
    answer = (response, { headers }) => {
      const right = headers.authorization === 'Bearer second';
      json(right ? 200 : 401, right ? { data: {} } : { reason: 'Unauthorized' })(response);
    };
    requests = [];
    expect(await client.readConfigMap('lock', true, signal)).toEqual({});
    expect(requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer first', 'Bearer second']);
    await writeToken('third');
    await client.onApplicationShutdown();
    requests = [];
    await expect(client.readConfigMap('lock', true, signal)).rejects.toMatchObject({ status: 401 });
    expect(requests).toHaveLength(2);
  });

  it('tells a refusal by its status and reason, and repeats nothing of the answer', async () => {
    answer = json(403, { reason: 'Forbidden', message: 'secret of somebody' });
    const error: unknown = await client.readSecret('key', signal).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(KubernetesError);
    expect(error).toMatchObject({ status: 403, message: 'GET secrets/key: 403 Forbidden', retryable: false });
  });

  it('has no status when there was no answer, or none that can be read', async () => {
    const answers: ((response: ServerResponse) => void)[] = [
      (response) => response.destroy(),
      (response) => response.writeHead(200).end('<html>'),
      json(200, { data: { a: 1 } }),
      (response) => {
        response.writeHead(200, { 'content-length': '1000' }).write('{');
        response.destroy();
      },
    ];
    for (answer of answers)
      await expect(client.readConfigMap('lock', true, signal)).rejects.toMatchObject({
        code: 'KUBERNETES_ERROR',
        status: undefined,
        retryable: true,
      });
    server.closeAllConnections();
    server.close();
    await expect(client.readConfigMap('lock', true, signal)).rejects.toMatchObject({ status: undefined });
  });

  it('leaves a server that stalls when told to', async () => {
    answer = () => undefined;
    const controller = new AbortController();
    const reason = new Error('enough');
    setTimeout(() => controller.abort(reason), 50);
    await expect(client.patchConfigMap('lock', [], controller.signal)).rejects.toBe(reason);
  });

  it('lets the lock store say lock_unavailable, whatever it was', async () => {
    const store = new KubernetesLockStore(client, 'lock');
    for (const status of [401, 403, 404, 429, 500, 503]) {
      answer = json(status, {});
      await expect(store.read('any', signal)).rejects.toMatchObject({ reason: 'lock_unavailable' });
      await expect(store.compareAndSwap('k', 'a', 'b', signal)).rejects.toMatchObject({
        reason: 'lock_unavailable',
      });
    }
  });

  it('lets the lock store try again after a conflict about other keys, three times at most', async () => {
    const store = new KubernetesLockStore(client, 'lock');
    let conflicts = 2;
    answer = (response, { method }) => {
      if (method === 'GET') json(200, { data: { k: 'a' } })(response);
      else if (conflicts > 0) json(409, { reason: 'Conflict' })(response);
      else json(200, {})(response);
      if (method === 'PATCH') conflicts -= 1;
    };
    expect(await store.compareAndSwap('k', 'a', 'b', signal)).toBe(true);
    conflicts = 3;
    await expect(store.compareAndSwap('k', 'a', 'b', signal)).rejects.toMatchObject({
      reason: 'lock_unavailable',
    });
    conflicts = 1;
    expect(await store.compareAndSwap('k', 'other', 'b', signal)).toBe(false);
  });
});
