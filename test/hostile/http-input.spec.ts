import fc from 'fast-check';

import type { AgentProcess } from '../support/agent-process.js';
import { badRequests, type BadRequest, encodeRequest, type KnownRoute } from '../support/bad-requests.js';
import { Cleanup } from '../support/cleanup.js';
import { fuzz } from '../support/fuzz.js';
import { sendAndLeave, sendBytes } from '../support/raw-socket.js';
import { SessionClient } from '../support/session-client.js';
import { tally } from '../support/tally.js';
import {
  addressOf,
  handlesBackTo,
  openHandles,
  residentBytes,
  startTarget,
  type Target,
  unforeseen,
} from '../support/target.js';

const SETUP_MS = 180_000;
const FUZZ_MS = 600_000;
const MIB = 1024 * 1024;
/** What a thousand and more requests may leave behind in a heap that nothing presses to be swept. */
const MAX_GROWTH_BYTES = 150 * MIB;

describe('Bad requests to a running agent', () => {
  const cleanup = new Cleanup();
  let target: Target;
  let agent: AgentProcess;
  let routes: KnownRoute[];
  let handles: number;
  let memory: number;

  beforeAll(async () => {
    target = await startTarget(cleanup);
    [agent] = target.agents;
    const { paths } = (await (await agent.get('/docs-json')).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
    );
    // Beside those of the document: the distribution API, and what the document itself is served from.
    const others = ['/v2/', '/v2/*path', '/docs', '/docs-json', '/docs/*path', '/*path'];
    routes = [...documented, ...others.map((path) => ({ method: 'GET', path }))];
    // What opens handles once, opens them here.
    await sendBytes(
      agent.port,
      encodeRequest({ method: 'GET', target: '/', headers: [], body: Buffer.alloc(0) }),
    );
    handles = await openHandles(agent);
    memory = await residentBytes(agent);
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  it('come to every route that the document has', () => {
    expect(routes.length).toBeGreaterThanOrEqual(16);
  });

  async function answered(request: BadRequest, authorization?: string): Promise<void> {
    const { status, head, body } = await sendBytes(agent.port, encodeRequest(request, authorization));
    const isError = status >= 400 && request.method !== 'HEAD';
    const isOurs = /^Content-Type: application\/json/im.test(head);
    // What is no HTTP at all, Node answers itself, with an empty body.
    const code = isError && isOurs ? (JSON.parse(body.toString()) as { code?: unknown }).code : 'NONE';
    expect({ status, hasAnswer: status >= 200 && status < 500 }).toEqual({ status, hasAnswer: true });
    expect(code).toMatch(/^[A-Z][A-Z0-9_]+$/);
    expect(head).not.toMatch(/^X-Injected/im);
  }

  const inputs = (): fc.Arbitrary<BadRequest> => badRequests(routes, target.digests, target.image);

  it(
    'by nobody get a 2xx, 3xx or 4xx, at once',
    () => fuzz('requests by nobody', inputs(), (request) => answered(request), 500),
    FUZZ_MS,
  );

  it(
    'by a holder of the API token do, too',
    async () => {
      const { Authorization } = target.cluster.authorization;
      await fuzz('requests with the API token', inputs(), (request) => answered(request, Authorization), 500);
    },
    FUZZ_MS,
  );

  it(
    'by another agent do, too',
    async () => {
      const session = await SessionClient.meet(addressOf(agent), target.sessionKey);
      await fuzz(
        'requests by a peer',
        inputs(),
        (request) => {
          const range = request.headers.find(([name]) => name === 'Range')?.[1];
          return answered(request, session.sign(request.method, request.target, range));
        },
        500,
      );
    },
    FUZZ_MS,
  );

  it(
    'with any authorization open nothing',
    async () => {
      const word = fc.string({ unit: 'binary-ascii', maxLength: 60 });
      const scheme = fc.constantFrom('Bearer ', 'bearer ', 'Basic ', 'Preheat ', 'Preheat session=', '');
      const authorization = fc
        .tuple(scheme, word)
        .map(([name, rest]) => `${name}${rest}`.replace(/[^\x20-\x7e]/g, '?'));
      const closed = [`/v2/team/app/blobs/${target.digests[0]}`, '/v2/', '/images/download?image=a'];
      await fuzz(
        'authorization',
        fc.tuple(authorization, fc.constantFrom(...closed)),
        async ([header, path]) => {
          const request = { method: 'GET', target: path, headers: [], body: Buffer.alloc(0) };
          const { status } = await sendBytes(agent.port, encodeRequest(request, header));
          if (status < 400) tally('unauthorised answers given');
          expect([400, 401]).toContain(status);
        },
      );
    },
    FUZZ_MS,
  );

  it(
    'that are no HTTP, or end in their midst, do no harm',
    async () => {
      const start = fc.constantFrom(
        '',
        'GET ',
        'GET / HTTP/1.1\r\n',
        'POST /images/preheat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
        'POST /peer/v1/session HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{',
        'GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      );
      await fuzz('bytes', fc.tuple(start, fc.uint8Array({ maxLength: 400 })), async ([beginning, rest]) => {
        await sendAndLeave(agent.port, Buffer.concat([Buffer.from(beginning), Buffer.from(rest)]));
      });
      expect((await agent.get('/health')).status).toBe(200);
    },
    FUZZ_MS,
  );

  it(
    'to the mirror are answered with 404, or not at all',
    async () => {
      const path = fc.oneof(
        fc.constantFrom(...target.digests).map((digest) => `/v2/preheat/${'0'.repeat(32)}/blobs/${digest}`),
        fc.constantFrom(...target.digests).map((digest) => `/v2/team/app/blobs/${digest}`),
        inputs().map(({ target: anything }) => anything),
      );
      await fuzz('requests to the mirror', fc.tuple(inputs(), path), async ([request, where]) => {
        const { status, head, body } = await sendBytes(
          agent.mirrorPort,
          encodeRequest({ ...request, target: where }),
        );
        // The version check alone is for everyone.
        const isVersion =
          request.method === 'HEAD' ? /^Content-Length: 2$/m.test(head) : body.toString() === '{}';
        if (status < 400 && !isVersion) tally('unauthorised answers given');
        expect([...(isVersion ? [200] : []), 400, 404, 431]).toContain(status);
      });
    },
    FUZZ_MS,
  );

  it(
    'leave nothing behind: no handle, no memory, nothing unforeseen in the log',
    async () => {
      await handlesBackTo(agent, handles);
      expect((await residentBytes(agent)) - memory).toBeLessThan(MAX_GROWTH_BYTES);
      expect(await unforeseen(agent)).toEqual([]);
      expect(agent.isRunning).toBe(true);
      expect((await agent.get('/health')).status).toBe(200);
    },
    FUZZ_MS,
  );
});
