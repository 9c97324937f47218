import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';

import { Logger } from '@nestjs/common';

import { describeWith } from '../../../test/support/engines.js';
import { makeCertificates, type TestCertificates } from '../../../test/support/tls-front.js';
import { VirtualClock } from '../../../test/support/virtual-clock.js';
import { AgentCertificates } from '../tls/agent-certificates.js';
import { type PeerRequest, PeerTransport } from './peer-transport.js';

const QUESTION: PeerRequest = {
  lane: 'control',
  method: 'GET',
  path: '/',
  headersTimeoutMs: 30_000,
  bodyTimeoutMs: 30_000,
};
const { signal } = new AbortController();

describeWith('openssl', 'PeerTransport', () => {
  let directory: string;
  let authority: TestCertificates;
  let server: Server;
  let certificates: AgentCertificates;
  let transport: PeerTransport;
  /** Which certificate each request came with, by its fingerprint. */
  let shown: string[];
  let held: ServerResponse[];

  const put = async (cert: Buffer, key: Buffer): Promise<void> => {
    await writeFile(join(directory, 'cert'), cert);
    await writeFile(join(directory, 'key'), key);
  };

  beforeAll(async () => {
    Logger.overrideLogger(false);
    authority = await makeCertificates('node.test');
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'transport-'));
    [shown, held] = [[], []];
    const { ca, server: own, client } = authority;
    server = createServer({ ca, ...own, requestCert: true });
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      shown.push((request.socket as TLSSocket).getPeerCertificate().fingerprint256);
      if (request.url === '/held') held.push(response.writeHead(200));
      else response.end('answer');
      response.flushHeaders();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    await put(client.cert, client.key);
    await writeFile(join(directory, 'ca'), ca);
    const [certFile, keyFile, caFile] = ['cert', 'key', 'ca'].map((name) => join(directory, name));
    const tls = { certFile: certFile!, keyFile: keyFile!, caFile: caFile! };
    certificates = new AgentCertificates({ tls }, new VirtualClock());
    await certificates.onModuleInit();
    transport = new PeerTransport(certificates);
  });
  afterEach(async () => {
    await transport.onModuleDestroy();
    await certificates.onModuleDestroy();
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });

  const send = async (path = '/') => {
    const { port } = server.address() as AddressInfo;
    return (await transport.send({ host: '127.0.0.1', port }, { ...QUESTION, path }, signal)).body;
  };

  it('shows new certificates from the next request on, though a connection is kept alive', async () => {
    for (let request = 0; request < 2; request += 1) await (await send()).text();
    await put(authority.server.cert, authority.server.key);
    await certificates.reload();
    for (let request = 0; request < 2; request += 1) await (await send()).text();
    const [before, , after] = shown;
    expect(before).not.toBe(after);
    expect(shown).toEqual([before, before, after, after]);
  });

  it('lets an answer under way come to its end, and then closes its connection', async () => {
    const body = await send('/held');
    const closed = once(held[0]!.socket!, 'close');
    await put(authority.server.cert, authority.server.key);
    await certificates.reload();
    await (await send()).text();
    held[0]!.end('to its end');
    expect(await text(body)).toBe('to its end');
    await closed;
  });
});
