import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, connect as connectPlain } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect, type TLSSocket } from 'node:tls';

import { describeWith } from '../../../test/support/engines.js';
import { makeCertificates, type TestCertificates } from '../../../test/support/tls-front.js';
import { AcceptedConnections } from './accepted-connections.js';

const LONG_MS = 600_000;

describeWith('openssl', 'AcceptedConnections', () => {
  let certificates: TestCertificates;
  let server: Server;
  let accepted: AcceptedConnections;
  /** Answers wait here until a test gives them. */
  let asked: { readonly path: string; readonly authorized: boolean; readonly response: ServerResponse }[];

  beforeAll(async () => {
    certificates = await makeCertificates('node.test');
  });
  beforeEach(async () => {
    asked = [];
    const { ca, server: own } = certificates;
    server = createServer({ ca, ...own, requestCert: true, rejectUnauthorized: false });
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const { authorized } = request.socket as TLSSocket;
      asked.push({ path: request.url ?? '', authorized, response });
      server.emit('asked');
    });
    accepted = new AcceptedConnections(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const port = (): number => (server.address() as AddressInfo).port;

  async function connected(): Promise<TLSSocket> {
    const socket = connect({
      port: port(),
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...certificates.client,
    });
    await once(socket, 'secureConnect');
    return socket;
  }
  async function ask(socket: TLSSocket, path: string): Promise<ServerResponse> {
    const arrived = once(server, 'asked');
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    await arrived;
    const [last] = asked.slice(-1);
    if (!last) throw new Error('nothing was asked');
    return last.response;
  }

  it('ends idle ones at once, those that never asked too, and none that comes after', async () => {
    const [used, unused] = [await connected(), await connected()];
    (await ask(used, '/')).end('first');
    await once(used, 'data');
    accepted.endAll(LONG_MS);
    const later = await connected();
    await Promise.all([text(used), text(unused)]);
    (await ask(later, '/')).end('second');
    expect(String(await once(later, 'data'))).toContain('Connection: keep-alive');
    later.destroy();
  });

  it('ends those that are still shaking hands', async () => {
    const socket = connectPlain(port(), '127.0.0.1');
    await once(server, 'connection');
    accepted.endAll(LONG_MS);
    expect(await text(socket)).toBe('');
  });

  it('lets an answer come to its end, and says that it is the last', async () => {
    const socket = await connected();
    const response = await ask(socket, '/');
    accepted.endAll(LONG_MS);
    response.end('whole');
    const answer = await text(socket);
    expect(answer).toContain('Connection: close');
    expect(answer).toMatch(/whole$/);
  });

  it('ends the connection of an answer that had begun once that is over', async () => {
    const socket = await connected();
    const response = await ask(socket, '/');
    response.write('begun, ');
    await once(socket, 'data');
    accepted.endAll(LONG_MS);
    response.end('ended');
    expect(await text(socket)).toContain('ended');
  });

  it('takes nobody for authorized who asks more on one of them', async () => {
    const socket = await connected();
    const response = await ask(socket, '/before');
    accepted.endAll(LONG_MS);
    await ask(socket, '/after');
    expect(asked.map(({ path, authorized }) => [path, authorized])).toEqual([
      ['/before', true],
      ['/after', false],
    ]);
    response.end();
    await text(socket);
  });

  it('cuts an answer that takes too long', async () => {
    const socket = await connected();
    (await ask(socket, '/')).write('endless');
    accepted.endAll(100);
    expect(await text(socket)).toContain('endless');
  });
});
