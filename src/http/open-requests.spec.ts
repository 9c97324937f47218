import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

import type { Request, Response } from 'express';

import { MAX_OPEN_REQUESTS, OpenRequests } from './open-requests.js';

describe('OpenRequests', () => {
  let requests: OpenRequests;
  let server: Server;
  let refused: number;
  /** Those that are under way. */
  let open: Response[];
  const sockets: Socket[] = [];

  beforeEach(async () => {
    requests = new OpenRequests();
    refused = 0;
    open = [];
    const listener = (request: Request, response: Response): void => {
      try {
        requests.limit(request, response, () => open.push(response));
      } catch {
        refused += 1;
        response.statusCode = 429;
        response.end();
      }
    };
    server = createServer(listener as unknown as RequestListener);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  /** Asks over `count` connections, without waiting for an answer. */
  async function ask(count: number, path = '/images'): Promise<void> {
    for (let asked = 0; asked < count; asked += 1) {
      const socket = await connection();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    }
  }
  async function connection(): Promise<Socket> {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.resume();
    return socket;
  }
  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  it('refuses one client what is too much at once, and takes the next when one is done', async () => {
    await ask(MAX_OPEN_REQUESTS);
    await until(() => open.length === MAX_OPEN_REQUESTS);
    await ask(3);
    await until(() => refused === 3);
    for (const response of open.splice(0)) response.end();
    await until(() => requests.clients === 0);
    await ask(1);
    await until(() => open.length === 1);
    expect(refused).toBe(3);
  });

  it('forgets what was asked over a connection that has gone', async () => {
    await ask(5);
    await until(() => open.length === 5);
    for (const socket of sockets) socket.destroy();
    await until(() => requests.clients === 0);
  });

  it('cuts a connection that asks again before it has its answer, and takes one request after the other', async () => {
    const patient = await connection();
    for (let asked = 1; asked <= 3; asked += 1) {
      patient.write('GET /images HTTP/1.1\r\nHost: a\r\n\r\n');
      await until(() => open.length === 1);
      open.pop()?.end('done');
      await once(patient, 'data');
    }
    const hasty = await connection();
    hasty.write('GET /images HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(500));
    await once(hasty, 'close');
    expect(open).toHaveLength(1);
    expect(patient.destroyed).toBe(false);
  });

  it('leaves agents to limits of their own, but for the handshake, and probes alone', async () => {
    await ask(MAX_OPEN_REQUESTS);
    await ask(1, '/v2/team/app/blobs/sha256:0');
    await ask(1, '/health');
    await until(() => open.length === MAX_OPEN_REQUESTS + 2);
    await ask(1, '/peer/v1/session');
    await until(() => refused === 1);
  });
});
