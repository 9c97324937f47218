import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

import { systemClock } from '../../common/clock.js';
import type { AppConfig } from '../../config/app-config.js';
import { PreheatFailure } from '../../domain/errors.js';
import { DockerClient } from './docker-client.js';
import type { RegistryAuth } from '../registry-auth.js';
import { DockerService } from './docker.service.js';

const { signal } = new AbortController();
const DIGEST = `sha256:${'a'.repeat(64)}`;
const NAME = `127.0.0.1:5051/preheat/n@${DIGEST}`;
const IMAGE = { Id: DIGEST, RepoTags: ['x:1'], RepoDigests: [] };

/** Answers as an engine would, where a test says so; 404 elsewhere. */
type Answers = Readonly<Record<string, RequestListener>>;
const json =
  (body: unknown): RequestListener =>
  (_request, response) =>
    void response.end(JSON.stringify(body));
/** Sends until nobody reads any more, which is told by the connection's end. */
const endless =
  (status: number): RequestListener =>
  (_request, response) => {
    response.writeHead(status);
    const piece = Buffer.alloc(4 * 1024 * 1024, ' ');
    pipeline(Readable.from(repeat(piece)), response).catch(() => undefined);
  };
function* repeat(piece: Buffer): Generator<Buffer, void> {
  for (;;) yield piece;
}
const dying =
  (start: string): RequestListener =>
  (_request, response) =>
    void response.write(start, () => response.destroy());

describe('DockerService', () => {
  let server: Server;
  const asked: string[] = [];
  const headers: NodeJS.Dict<string | string[]>[] = [];

  async function service(answers: Answers): Promise<DockerService> {
    server = createServer((request, response) => {
      asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
      headers.push(request.headers);
      const path = (request.url ?? '').split('?')[0] ?? '';
      const answer = answers[path] ?? ((_request, missing) => missing.writeHead(404).end('{"message":"no"}'));
      answer(request, response);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return at(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }

  function at(dockerHost: string): DockerService {
    const runtime = { dockerHost, dockerTlsVerify: false };
    const auth: RegistryAuth = {
      forRepository: ({ registry }) => Promise.resolve({ username: registry, password: 'pw' }),
    };
    return new DockerService(new DockerClient({ runtime } as AppConfig), systemClock, auth);
  }

  async function reasonOf(work: Promise<unknown>): Promise<string> {
    const error: unknown = await work.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PreheatFailure);
    return (error as PreheatFailure).reason;
  }

  beforeEach(() => void (asked.length = headers.length = 0));
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  it('asks once for many callers, and for its image store once a minute', async () => {
    const docker = await service({ '/info': json({}), '/images/json': json([IMAGE]) });
    await Promise.all([docker.list(signal), docker.list(signal), docker.list(signal)]);
    await docker.list(signal);
    expect(asked).toEqual(['GET /info', 'GET /images/json?digests=1', 'GET /images/json?digests=1']);
  });

  it.each([
    ['breaks off', dying('[{"Id":'), 'runtime_unreachable'],
    ['is not JSON', (_request, response) => void response.end('nonsense'), 'runtime_unreachable'],
    ['has another shape', json({ no: 'list' }), 'runtime_error'],
    [
      'is a refusal',
      (_request, response) => void response.writeHead(500).end('{"message":"x"}'),
      'runtime_error',
    ],
    [
      'is a refusal that cannot be made a text of',
      (_request, response) => void response.writeHead(500).end('{"message":{"toString":1}}'),
      'runtime_error',
    ],
    ['is an endless refusal', endless(500), 'runtime_error'],
    ['is an endless list', endless(200), 'runtime_error'],
  ] satisfies [string, RequestListener, string][])(
    'fails when the list %s',
    async (_what, answer, reason) => {
      const docker = await service({ '/info': json({}), '/images/json': answer });
      expect(await reasonOf(docker.list(signal))).toBe(reason);
    },
  );

  it('takes a pull that ends without an error and without the image for failed, and says what came out', async () => {
    const docker = await service({ '/images/create': json({ stream: 'unpigz: corrupt' }) });
    const error: unknown = await docker.pull(NAME, signal).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason: 'runtime_error', message: 'Docker: unpigz: corrupt' });
  });

  it('fails when the daemon dies during a pull', async () => {
    const docker = await service({ '/images/create': dying('{"status":"Extracting"}\n') });
    expect(await reasonOf(docker.pull(NAME, signal))).toBe('runtime_unreachable');
  });

  it.each([
    ['dies midway', dying('x'.repeat(2000))],
    [
      'appends an error and ends',
      (_request, response) => void response.end(Buffer.concat([Buffer.alloc(1024), Buffer.from('{}')])),
    ],
  ] satisfies [string, RequestListener][])('breaks an export when the daemon %s', async (_what, answer) => {
    const docker = await service({ '/images/x:1/json': json(IMAGE), '/images/x:1/get': answer });
    const stream = await docker.export('x:1', signal);
    await expect(buffer(stream)).rejects.toThrow();
    expect(stream.readableEnded).toBe(false);
  });

  it('sends the credentials of the image’s registry, and only when it restores', async () => {
    const docker = await service({ '/images/create': json({ status: 'done' }) });
    await docker.pull(NAME, signal).catch(() => undefined);
    expect(headers.some((sent) => 'x-registry-auth' in sent)).toBe(false);
    const reason = await reasonOf(docker.restore(`example.org:5000/team/app@${DIGEST}`, signal));
    expect(reason).toBe('registry_error');
    const sent = headers.map((all) => all['x-registry-auth']).find((value) => value !== undefined);
    expect(JSON.parse(Buffer.from(String(sent), 'base64url').toString())).toEqual({
      username: 'example.org:5000',
      password: 'pw',
    });
  });

  it.each([
    [401, 'unauthorized: authentication required', 'unauthorized'],
    [500, 'Head "https://r/v2/": unauthorized: authentication required', 'unauthorized'],
    [404, 'manifest unknown', 'not_found'],
    [500, 'toomanyrequests: You have reached your pull rate limit', 'rate_limited'],
    [500, 'dial tcp: connection refused', 'registry_error'],
  ])('says why a registry did not let it restore a digest: %i %s', async (status, message, reason) => {
    const refusal: RequestListener = (_request, response) =>
      void response.writeHead(status).end(JSON.stringify({ message }));
    const docker = await service({ '/images/create': refusal });
    const error: unknown = await docker
      .restore(`example.org/app@${DIGEST}`, signal)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ reason });
    expect(String(error)).not.toContain(message);
  });

  it('tells whether a digest resolves without asking its registry', async () => {
    const name = `example.org/app@${DIGEST}`;
    expect(await (await service({})).restoreLocally(name, signal)).toBe(false);
    server.close();
    expect(
      await (await service({ [`/images/${name}/json`]: json(IMAGE) })).restoreLocally(name, signal),
    ).toBe(true);
    expect(asked).toEqual([`GET /images/${name}/json`, `GET /images/${name}/json`]);
  });

  it.each(['unix:///nonexistent/docker.sock', 'tcp://127.0.0.1:1', 'ssh://somewhere', '::nonsense::'])(
    'cannot be reached at %s',
    async (host) => {
      await service({});
      expect(await reasonOf(at(host).list(signal))).toBe('runtime_unreachable');
    },
  );
});
