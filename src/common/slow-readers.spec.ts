import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';

import { cutSlowReaders } from './slow-readers.js';

function* pieces(): Generator<Buffer> {
  for (let count = 0; count < 1024; count += 1) yield Buffer.alloc(64 * 1024);
}

const LIMIT_MS = 250;
const LONG_MS = 20_000;

describe('cutSlowReaders', () => {
  let server: Server;
  let client: Socket;

  beforeEach(async () => {
    server = createServer((request, response) => {
      if (request.url === '/large') Readable.from(pieces(), { objectMode: false }).pipe(response);
      else response.end('small');
    });
    cutSlowReaders(server, LIMIT_MS, () => performance.now());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(client, 'connect');
  });
  afterEach(async () => {
    client.destroy();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  async function connections(): Promise<number> {
    return new Promise((resolve, reject) =>
      server.getConnections((error, count) => {
        if (error) reject(error);
        else resolve(count);
      }),
    );
  }
  const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  it(
    'cuts who takes nothing of what waits for it',
    async () => {
      client.pause();
      client.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n');
      while ((await connections()) > 0) await pass(LIMIT_MS / 2);
    },
    LONG_MS,
  );

  it(
    'does not cut who waits with nothing to take, nor who takes it bit by bit',
    async () => {
      const [idle] = [connect((server.address() as AddressInfo).port, '127.0.0.1')];
      try {
        await once(idle, 'connect');
        let taken = 0;
        client.on('data', (piece: Buffer) => {
          taken += piece.length;
          client.pause();
          setTimeout(() => client.resume(), 1);
        });
        client.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n');
        while (taken < 8 * 1024 * 1024) await pass(LIMIT_MS);
        expect(await connections()).toBe(2);
      } finally {
        idle.destroy();
      }
    },
    LONG_MS,
  );
});
