import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const FIRST = 10_000;
/** Below Linux's ephemeral range (32768 …), out of which the kernel would hand the port to somebody's connection. */
const LAST = 32_000;
const ATTEMPTS = 50;

/** A TCP port that nobody listened on a moment ago, on loopback and on all addresses; test runs side by side rarely collide. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(FIRST, LAST);
    if ((await canListen(port, '127.0.0.1')) && (await canListen(port, '0.0.0.0'))) return port;
  }
  throw new Error(`no free port between ${FIRST} and ${LAST} after ${ATTEMPTS} attempts`);
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}
