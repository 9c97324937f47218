import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { contentOfRouter, type RouterContent } from '../support/known-routes.js';
import { sendBytes } from '../support/raw-socket.js';
import { SessionClient } from '../support/session-client.js';
import { tally } from '../support/tally.js';
import { addressOf, startTarget, type Target } from '../support/target.js';

const SETUP_MS = 180_000;
const CASE_MS = 60_000;

/** Who a route is for; `read` is for everyone, or with READ_AUTH for holders of the API token. */
type Access = 'public' | 'read' | 'token' | 'peer' | 'peer-or-token';

interface Row {
  readonly access: Access;
  /** `METHOD path` of one good request. */
  readonly request: string;
  readonly body?: object;
  /** What whoever may call it is answered. */
  readonly status: number;
}

/** Every route of the router. A route that is not here fails the suite: whoever adds one, says here who may call it. */
function tableFor({ image, digests: [digest] }: Target): Readonly<Record<string, Row>> {
  const query = `image=${encodeURIComponent(image)}`;
  const read = (path: string): Row => ({ access: 'read', request: `GET ${path}`, status: 200 });
  return {
    'GET /health': { access: 'public', request: 'GET /health', status: 200 },
    'GET /health/ready': { access: 'public', request: 'GET /health/ready', status: 200 },
    'GET /metrics': read('/metrics'),
    'GET /images': read('/images'),
    'GET /images/check': read(`/images/check?${query}`),
    'GET /docs': read('/docs'),
    'GET /docs/': read('/docs/'),
    'GET /docs/index.html': read('/docs/index.html'),
    'GET /docs/LICENSE': { ...read('/docs/LICENSE'), status: 404 },
    'GET /docs/swagger-ui-init.js': read('/docs/swagger-ui-init.js'),
    'GET /docs/docs/swagger-ui-init.js': read('/docs/docs/swagger-ui-init.js'),
    'GET /docs-json': read('/docs-json'),
    'HEAD /images/download': {
      access: 'peer-or-token',
      request: `HEAD /images/download?${query}`,
      status: 200,
    },
    'GET /images/download': {
      access: 'peer-or-token',
      request: `GET /images/download?${query}`,
      status: 200,
    },
    'POST /images/preheat': {
      access: 'token',
      request: 'POST /images/preheat',
      body: { images: [image] },
      status: 202,
    },
    'ALL /v2': { access: 'peer-or-token', request: 'GET /v2/', status: 200 },
    'ALL /v2/*path': { access: 'peer-or-token', request: `GET /v2/team/app/blobs/${digest}`, status: 200 },
    'POST /peer/v1/session': { access: 'public', request: 'POST /peer/v1/session', body: {}, status: 400 },
    'POST /peer/v1/session/proof': {
      access: 'public',
      request: 'POST /peer/v1/session/proof',
      body: {},
      status: 400,
    },
    'POST /peer/v1/availability': {
      access: 'peer',
      request: 'POST /peer/v1/availability',
      body: { digests: [digest] },
      status: 200,
    },
    'POST /peer/v1/runtime': {
      access: 'peer',
      request: 'POST /peer/v1/runtime',
      body: { images: [image] },
      status: 200,
    },
  };
}

/** What everything passes through and nothing comes out of: the log's, and the framework's own. */
const MIDDLEWARE_ROUTE = 'ALL {/*splat}';
/** In their order; `serveStatic` has Swagger's files, behind the guard that comes before it. */
const MIDDLEWARE = [
  '<anonymous>',
  // What one client may have under way.
  'limit',
  'securityHeaders',
  'requireClientCertificate',
  '<anonymous>',
  'serveStatic',
  // Whatever came this far: not found, and what failed.
  '<anonymous>',
  '<anonymous>',
];

/** Callers that hold nothing, or something that is not good for this request. */
const STRANGERS = [
  'nobody',
  'another token',
  'the token as a password',
  'a peer with another key',
  'a peer whose request was sent before',
  'a peer of another agent',
  'a peer that signed another request',
  'a peer that says that it is one',
] as const;
const CALLERS = [...STRANGERS, 'the token', 'a peer'] as const;
type Caller = (typeof CALLERS)[number];

describe('Every route of a running agent', () => {
  const cleanup = new Cleanup();
  let target: Target;
  /** The second one has READ_AUTH. */
  let agents: [AgentProcess, AgentProcess];
  let router: RouterContent;
  let sessions: [SessionClient, SessionClient];
  let table: Readonly<Record<string, Row>>;

  beforeAll(async () => {
    router = await contentOfRouter();
    target = await startTarget(cleanup, 2);
    agents = target.agents as unknown as [AgentProcess, AgentProcess];
    await agents[1].end();
    agents[1].start({ READ_AUTH: 'true' });
    await agents[1].wait('answering', SETUP_MS, async () =>
      (await agents[1].get('/health')).ok ? true : undefined,
    );
    const { Authorization } = target.cluster.authorization;
    await agents[1].wait('ready', SETUP_MS, async () => {
      const path = `/images/check?image=${encodeURIComponent(target.image)}`;
      return (await agents[1].get(path, { Authorization })).ok ? true : undefined;
    });
    const meet = (agent: AgentProcess): Promise<SessionClient> =>
      SessionClient.meet(addressOf(agent), target.sessionKey);
    sessions = [await meet(agents[0]), await meet(agents[1])];
    table = tableFor(target);
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  it('is in the table, and the table has no other', () => {
    const routes = router.routes.filter((route) => route !== MIDDLEWARE_ROUTE);
    expect([...new Set(routes)].sort()).toEqual(Object.keys(table).sort());
    expect(router.middleware).toEqual(MIDDLEWARE);
  });

  async function authorizationOf(caller: Caller, row: Row, at: 0 | 1): Promise<string | undefined> {
    const { Authorization } = target.cluster.authorization;
    const [method = '', path = ''] = row.request.split(' ');
    const session = sessions[at];
    switch (caller) {
      case 'nobody':
        return undefined;
      case 'the token':
        return Authorization;
      case 'another token':
        return `Bearer ${'0'.repeat(32)}`;
      case 'the token as a password':
        return `Basic ${Buffer.from(`token:${target.cluster.apiToken}`).toString('base64')}`;
      case 'a peer':
        return session.sign(method, path);
      case 'a peer with another key':
        return session.sign(method, path).replace(/mac=.{43}/, `mac=${'A'.repeat(43)}`);
      case 'a peer whose request was sent before': {
        const used = session.sign(method, path);
        await send(row, used, at);
        return used;
      }
      case 'a peer of another agent':
        return sessions[at === 0 ? 1 : 0].sign(method, path);
      case 'a peer that signed another request':
        return session.sign(method, `${path}${path.includes('?') ? '&' : '?'}x=1`);
      case 'a peer that says that it is one':
        return 'Preheat';
    }
  }

  async function send(row: Row, authorization: string | undefined, at: 0 | 1): Promise<number> {
    const [method, path] = row.request.split(' ');
    const body = row.body === undefined ? '' : JSON.stringify(row.body);
    const lines = [
      `${method} ${path} HTTP/1.1`,
      'Host: agent.test',
      'Connection: close',
      `Preheat-Node: node-1`,
      `Preheat-Instance: ${'0'.repeat(32)}`,
      ...(body === '' ? [] : ['Content-Type: application/json']),
      ...(authorization === undefined ? [] : [`Authorization: ${authorization}`]),
      `Content-Length: ${body.length}`,
    ];
    return (await sendBytes(agents[at].port, `${lines.join('\r\n')}\r\n\r\n${body}`)).status;
  }

  function isFor(access: Access, caller: Caller, readAuth: boolean): boolean {
    if (access === 'public' || (access === 'read' && !readAuth)) return true;
    if (caller === 'a peer') return access === 'peer' || access === 'peer-or-token';
    return caller === 'the token' && access !== 'peer';
  }

  it.each([
    ['by default', 0],
    ['with READ_AUTH', 1],
  ] as const)(
    'answers those that it is for, and nobody else, %s',
    async (_name, at) => {
      const wrong: string[] = [];
      for (const [route, row] of Object.entries(table)) {
        for (const caller of CALLERS) {
          const status = await send(row, await authorizationOf(caller, row, at), at);
          const expected = isFor(row.access, caller, at === 1) ? row.status : 401;
          tally('bad inputs tried');
          if (expected === 401 && status < 400) tally('unauthorised answers given');
          if (status !== expected) wrong.push(`${route} by ${caller}: ${status} instead of ${expected}`);
        }
      }
      expect(wrong).toEqual([]);
    },
    CASE_MS,
  );

  it.each(['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE'])(
    'by %s of strangers is no way around it',
    async (method) => {
      const wrong: string[] = [];
      for (const [route, row] of Object.entries(table)) {
        if (row.access === 'public' || row.access === 'read') continue;
        for (const caller of STRANGERS) {
          const changed = { ...row, request: row.request.replace(/^\w+/, method) };
          const status = await send(changed, await authorizationOf(caller, changed, 0), 0);
          tally('bad inputs tried');
          if (status < 400) tally('unauthorised answers given');
          if (status < 400) wrong.push(`${method} ${route} by ${caller}: ${status}`);
        }
      }
      expect(wrong).toEqual([]);
    },
    CASE_MS,
  );

  it('has an unspoken one too, for nobody: the mirror’s names on PORT', async () => {
    const [digest] = target.digests;
    const row: Row = {
      access: 'peer-or-token',
      request: `GET /v2/preheat/${'0'.repeat(32)}/blobs/${digest}`,
      status: 200,
    };
    expect(await send(row, undefined, 0)).toBe(401);
    expect(
      (
        await sendBytes(
          agents[0].mirrorPort,
          `GET /v2/team/app/blobs/${digest} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
        )
      ).status,
    ).toBe(404);
  });
});
