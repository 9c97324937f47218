import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { dial, sendBytes } from '../support/raw-socket.js';
import { tally } from '../support/tally.js';
import { handlesBackTo, openHandles, peakResidentBytes, startTarget, unforeseen } from '../support/target.js';

const SETUP_MS = 180_000;
const CASE_MS = 180_000;
const MIB = 1024 * 1024;
const MAX_RESIDENT_BYTES = 400 * MIB;
/** After so long without an answer a probe has failed: six in a row, and kubelet starts the agent anew. */
const PROBE_TIMEOUT_MS = 5_000;
const OPEN_BODIES = 1_200;
const UNREAD = { connections: 40, requests: 500 };

const BODY_PATHS = [
  '/peer/v1/session',
  '/peer/v1/session/proof',
  '/peer/v1/availability',
  '/images/preheat',
  '/none',
];

/** JSON that is right, and takes long to read, or much memory. */
function costlyBodies(bytes: number): readonly Buffer[] {
  const list = (piece: string): string => `{"x":[${piece.repeat(Math.floor(bytes / piece.length) - 2)}0]}`;
  const keys = Array.from({ length: Math.floor(bytes / 11) }, (_, at) => `"${at.toString(36)}":{}`);
  const nested = (open: string, close: string): string => {
    const depth = Math.floor(bytes / (open.length + close.length)) - 2;
    return `${open.repeat(depth)}1${close.repeat(depth)}`;
  };
  return [
    ...['[],', '{},', '1,', '"",', '{"":{}},'].map(list),
    `{${keys.join()}}`,
    nested('[', ']'),
    nested('{"a":', '}'),
  ].map((text) => Buffer.from(text));
}

describe('A stranger who asks an agent for much', () => {
  const cleanup = new Cleanup();
  const sockets = new Set<Socket>();
  let agent: AgentProcess;
  /** Cut by the agent sooner or later; begun first, since that takes a while. */
  let slow: readonly Socket[];

  beforeAll(async () => {
    const target = await startTarget(cleanup);
    [agent] = target.agents;
    slow = await Promise.all([
      ...Array.from({ length: 5 }, () => trickle('GET /images HTTP/1.1\r\nHost: a\r\nX-Long: ')),
      ...Array.from({ length: 5 }, () =>
        trickle(`${headOf('/peer/v1/session')}Content-Length: 400\r\n\r\n{"protocol":1,"node":"`),
      ),
    ]);
  }, SETUP_MS);
  afterEach(() => {
    for (const socket of sockets) if (!slow.includes(socket)) socket.destroy();
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await cleanup.run();
  }, 60_000);

  const headOf = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n`;

  async function open(): Promise<Socket> {
    const socket = await dial(agent.port);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  }

  /** Sends `text`, and then a byte a second for as long as it is let. */
  async function trickle(text: string): Promise<Socket> {
    const socket = await open();
    socket.resume();
    socket.write(text);
    const dripping = setInterval(() => socket.write('x'), 1000);
    socket.once('close', () => clearInterval(dripping));
    return socket;
  }

  /** Probes the agent as kubelet does for as long as `attack` lasts, and after it. */
  async function whileProbed(attack: () => Promise<void>): Promise<void> {
    const attacking = attack();
    try {
      for (let isOver = false; !isOver;) {
        isOver = await Promise.race([attacking.then(() => true), delay(100).then(() => false)]);
        const { status } = await fetch(`${agent.url}/health`, {
          signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
        });
        expect(status).toBe(200);
      }
    } finally {
      await attacking;
    }
    expect(await unforeseen(agent)).toEqual([]);
  }

  it(
    'has no body read that does not end',
    async () => {
      const before = await openHandles(agent);
      await whileProbed(async () => {
        const length = MIB - 10;
        for (let count = 0; count < OPEN_BODIES; count += 1) {
          const socket = await open();
          socket.pause();
          const path = BODY_PATHS[count % BODY_PATHS.length] ?? '';
          socket.write(`${headOf(path)}Content-Length: ${length}\r\n\r\n`);
          socket.write(Buffer.alloc(length - 1, ' '));
          tally('bad inputs tried');
        }
        await delay(2_000);
      });
      expect(await peakResidentBytes(agent)).toBeLessThan(MAX_RESIDENT_BYTES);
      for (const socket of sockets) if (!slow.includes(socket)) socket.destroy();
      await handlesBackTo(agent, before);
    },
    CASE_MS,
  );

  it(
    'has no body parsed that takes long',
    async () => {
      await whileProbed(async () => {
        for (const bytes of [4_000, MIB - 100])
          for (const body of costlyBodies(bytes))
            for (const path of BODY_PATHS) {
              const head = `${headOf(path)}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
              const { status } = await sendBytes(agent.port, Buffer.concat([Buffer.from(head), body]));
              tally('bad inputs tried');
              // 0: the refusal was lost, since the agent closed while the body was still being sent.
              expect([0, 400, 401, 404, 413, 429]).toContain(status);
            }
      });
      expect(await peakResidentBytes(agent)).toBeLessThan(MAX_RESIDENT_BYTES);
    },
    CASE_MS,
  );

  it.each(['/docs/swagger-ui-bundle.js', '/docs-json', '/metrics', '/images'])(
    'is cut when it asks for %s again and again, and takes nothing',
    async (path) => {
      const before = await openHandles(agent);
      await whileProbed(async () => {
        for (let count = 0; count < UNREAD.connections; count += 1) {
          const socket = await open();
          socket.pause();
          socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(UNREAD.requests));
          tally('bad inputs tried', UNREAD.requests);
        }
      });
      // Nobody closes them but the agent.
      await handlesBackTo(agent, before);
      expect(await peakResidentBytes(agent)).toBeLessThan(MAX_RESIDENT_BYTES);
    },
    CASE_MS,
  );

  it(
    'is cut when it sends a byte a second',
    async () => {
      tally('bad inputs tried', slow.length);
      while (slow.some((socket) => sockets.has(socket))) await delay(250);
    },
    CASE_MS,
  );
});
