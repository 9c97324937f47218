import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ImageRuntime } from '../../src/runtime/image-runtime.js';
import { describeWith } from '../support/engines.js';
import { runtimeModule, type RuntimeSettings } from '../support/runtime-of.js';
import { makeCertificates, type TestCertificates, TlsFront } from '../support/tls-front.js';

const { signal } = new AbortController();

describeWith('openssl', 'DockerService over TLS, by Docker’s variables', () => {
  let certificates: TestCertificates;
  let others: TestCertificates;
  let daemon: Server;
  let front: TlsFront;
  let directory: string;

  const install = async ({ ca, client }: TestCertificates): Promise<void> => {
    await writeFile(join(directory, 'ca.pem'), ca);
    await writeFile(join(directory, 'cert.pem'), client.cert);
    await writeFile(join(directory, 'key.pem'), client.key);
  };
  const runtimeAt = async (host: string, settings: RuntimeSettings): Promise<ImageRuntime> => {
    const dockerHost = `tcp://${host}:${front.port}`;
    return (await runtimeModule({ kind: 'docker', dockerHost, ...settings })).get<ImageRuntime>(ImageRuntime);
  };

  beforeAll(async () => {
    [certificates, others] = await Promise.all([
      makeCertificates('localhost'),
      makeCertificates('localhost'),
    ]);
    directory = await mkdtemp(join(tmpdir(), 'docker-certs-'));
    daemon = createServer((request, response) => {
      response.end(request.url?.startsWith('/info') === true ? '{}' : '[]');
    }).listen(0, '127.0.0.1');
    await once(daemon, 'listening');
    front = await TlsFront.start(certificates, (daemon.address() as AddressInfo).port, true);
  }, 30_000);
  afterAll(async () => {
    await front.stop();
    daemon.closeAllConnections();
    daemon.close();
    await rm(directory, { recursive: true });
  });

  it('shows its certificate, checks the server’s, and takes renewed files without a restart', async () => {
    const runtime = await runtimeAt('localhost', { dockerCertPath: directory, dockerTlsVerify: true });
    await expect(runtime.list(signal)).rejects.toMatchObject({ reason: 'runtime_unreachable' });
    await install(others);
    await expect(runtime.list(signal)).rejects.toMatchObject({ reason: 'runtime_unreachable' });
    await install(certificates);
    expect((await runtime.list(signal)).images.size).toBe(0);
  });

  it('checks the server’s name only with DOCKER_TLS_VERIFY', async () => {
    await install(certificates);
    const strict = await runtimeAt('127.0.0.1', { dockerCertPath: directory, dockerTlsVerify: true });
    await expect(strict.list(signal)).rejects.toMatchObject({ reason: 'runtime_unreachable' });
    const lax = await runtimeAt('127.0.0.1', { dockerCertPath: directory, dockerTlsVerify: false });
    expect((await lax.list(signal)).images.size).toBe(0);
  });

  it('does not speak plain HTTP to a TLS port as if it was the engine', async () => {
    const runtime = await runtimeAt('localhost', {});
    await expect(runtime.list(signal)).rejects.toMatchObject({ reason: 'runtime_unreachable' });
  });
});
