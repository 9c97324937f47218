import { spawnSync } from 'node:child_process';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { describeWith } from '../support/engines.js';
import { ImageBuilder, type SingleImage } from '../support/image-builder.js';
import { pushImage } from '../support/push-image.js';

const SETUP_MS = 120_000;

interface Answer {
  readonly status: number;
  readonly body: string;
}
interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Sends a path as it stands: `fetch` would tidy it. */
function ask(
  agent: AgentProcess,
  path: string,
  { method = 'GET', headers = {}, body }: Asked = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: agent.port, path, method, headers, timeout: 20_000 });
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error(`${method} ${path} has no answer`)));
    sent.on('response', (response) => {
      text(response).then((content) => resolve({ status: response.statusCode ?? 0, body: content }), reject);
    });
    sent.end(body);
  });
}

const codeOf = ({ body }: Answer): unknown => (JSON.parse(body) as { code?: unknown }).code;

describe('The HTTP surface of a running agent', () => {
  const cleanup = new Cleanup();
  let cluster: AgentCluster;
  let agent: AgentProcess;
  let image: SingleImage;
  let good: string;
  let bad: string;
  let token: Readonly<Record<string, string>>;

  beforeAll(async () => {
    const registry = await cleanup.track(DemoRegistry.start(), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (made) => made.dispose());
    const layers = [{ seed: 'app', sizeBytes: 400_000, compressible: 0, compression: 'none' as const }];
    const built = await builder.image({ layers });
    await pushImage(built, `http://${registry.host}`, 'team/app', ['1']);
    image = built.images[0]!;
    [good, bad] = [`${registry.host}/team/app:1`, `${registry.host}/team/none:1`];
    cluster = await cleanup.track(
      AgentCluster.prepare([{ RUNTIME: 'directory', API_RATE_LIMIT: '0' }, { RUNTIME: 'directory' }]),
      (made) => made.dispose(),
    );
    [agent] = cluster.agents as [AgentProcess];
    token = cluster.authorization;
    await cluster.list(good, bad);
    cluster.start();
    await Promise.all(cluster.agents.map((each) => each.until(good, 'ready', SETUP_MS)));
    await agent.until(bad, 'failed', SETUP_MS);
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  const BAD_REFERENCES = [
    '../../etc/passwd',
    'app:1\r\nX-Injected: yes',
    `a${'b'.repeat(4_999)}`,
    'registry.test/Team/App:1',
    'registry.test:99999/team/app:1',
    'team/app@sha256:abc',
    'team/app:',
    'http://registry.test/team/app',
    '\u0000',
    '💥',
    '%2e%2e%2fetc',
  ];

  it.each(BAD_REFERENCES.map((value) => [JSON.stringify(value).slice(0, 60), value]))(
    'refuses the reference %s, naming it',
    async (_name, value) => {
      const query = `?image=${encodeURIComponent(value)}`;
      const answers = [
        await ask(agent, `/images/check${query}`),
        await ask(agent, `/images/download${query}`, { headers: token }),
        await ask(agent, '/images/preheat', {
          method: 'POST',
          headers: { ...token, 'content-type': 'application/json' },
          body: JSON.stringify({ images: [value] }),
        }),
      ];
      for (const answer of answers) {
        expect(answer).toMatchObject({ status: 400 });
        const { code, message, statusCode } = JSON.parse(answer.body) as Record<string, unknown>;
        expect({ code, statusCode }).toEqual({ code: 'INVALID_REFERENCE', statusCode: 400 });
        expect(message).toContain(JSON.stringify(value).slice(0, 100).replace(/"$/, ''));
      }
    },
  );

  it.each([
    ['no image', ''],
    ['an empty one', '?image='],
    ['two', '?image=a&image=b'],
    ['a nested one', '?image[a]=b'],
    ['an array', '?image[]=a'],
  ])('wants one image in the query: not %s', async (_name, query) => {
    for (const path of ['/images/check', '/images/download']) {
      const answer = await ask(agent, `${path}${query}`, { headers: token });
      expect([answer.status, codeOf(answer)]).toEqual([400, 'IMAGE_REQUIRED']);
    }
  });

  it.each(['%', '%E0%A4%A', '%zz', 'a%00b'])(
    'answers the percent-encoding %s with a 4xx',
    async (encoded) => {
      const paths = ['/images/check?image=', '/', '/v2/', '/docs/'].map((prefix) => `${prefix}${encoded}`);
      for (const path of paths) {
        const { status } = await ask(agent, path, { headers: token });
        expect([path, status >= 400 && status < 500]).toEqual([path, true]);
      }
    },
  );

  it.each(['http://elsewhere.test:99999', 'http://[', 'https://elsewhere.test'])(
    'answers a request line that names %s/v2/… as the text that it is',
    async (origin) => {
      const known = `${origin}/v2/team/app/manifests/${image.manifest.digest}`;
      for (const path of [known, `${origin}/v2/`, `${origin}/v2/team/app/tags/list`]) {
        const { status } = await ask(agent, path, { headers: token });
        expect([path, status < 500]).toEqual([path, true]);
      }
    },
  );

  it.each([
    ['no JSON', 'application/json', '{'],
    ['no object', 'application/json', '[]'],
    ['null', 'application/json', 'null'],
    ['no list', 'application/json', '{"images":"nginx"}'],
    ['an empty list', 'application/json', '{"images":[]}'],
    ['a list of other things', 'application/json', '{"images":[1,{},null]}'],
    ['too many', 'application/json', JSON.stringify({ images: Array.from({ length: 1_001 }, () => 'a') })],
    ['a prototype', 'application/json', '{"__proto__":{"images":["a"]}}'],
    ['another type', 'text/plain', 'nginx'],
    ['none', 'application/json', ''],
    ['2 MiB', 'application/json', JSON.stringify({ images: ['a'.repeat(2 * 1024 * 1024)] })],
  ])('refuses a body that is %s', async (_name, type, body) => {
    for (const path of ['/images/preheat', '/peer/v1/session', '/peer/v1/session/proof']) {
      const headers = { ...token, 'content-type': type };
      const answer = await ask(agent, path, { method: 'POST', headers, body });
      expect([path, answer.status >= 400 && answer.status < 500]).toEqual([path, true]);
      expect(codeOf(answer)).toMatch(/^[A-Z][A-Z_]+$/);
    }
  });

  it.each([
    ['bytes=0-0', 206],
    ['bytes=-1', 206],
    ['bytes=399999-', 206],
    ['bytes=4000000-', 416],
    ['bytes=-0', 416],
    ['bytes=99999999999999999999-', 200],
    ['bytes=5-1', 416],
    ['bytes=0-1,3-4', 200],
    ['bytes=a-b', 200],
    ['chunks=0-1', 200],
    ['bytes=', 200],
  ])('answers Range: %s with %d', async (range, status) => {
    const answer = await ask(agent, `/v2/team/app/blobs/${image.layers[0]!.digest}`, {
      headers: { ...token, range },
    });
    expect(answer.status).toBe(status);
  });

  it('answers other methods with a 4xx', async () => {
    for (const path of [
      '/health',
      '/images',
      '/images/check',
      '/metrics',
      '/v2/',
      '/v2/team/app/manifests/1',
      '/docs',
    ])
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const { status } = await ask(agent, path, { method, headers: token });
        expect([method, path, status >= 400 && status < 500]).toEqual([method, path, true]);
      }
    expect((await ask(agent, '/images/preheat', { headers: token })).status).toBe(404);
  });

  it('tells nobody, the API token and a made-up peer apart on every route that it declares', async () => {
    const v2 = `/v2/team/app/manifests/${image.manifest.digest}`;
    const download = `/images/download?image=${encodeURIComponent(good)}`;
    const peer = { authorization: 'Preheat-Peer session="x", counter="1", mac="x"' };
    const json = { 'content-type': 'application/json' };
    /** Status for nobody, with the token, with another token, as a peer that has no session. */
    const table: [method: string, path: string, body: string | undefined, ...statuses: number[]][] = [
      ['GET', '/health', undefined, 200, 200, 200, 200],
      ['GET', '/health/ready', undefined, 200, 200, 200, 200],
      ['GET', '/metrics', undefined, 200, 200, 200, 200],
      ['GET', '/docs-json', undefined, 200, 200, 200, 200],
      ['GET', '/images', undefined, 200, 200, 200, 200],
      ['GET', `/images/check?image=${encodeURIComponent(good)}`, undefined, 200, 200, 200, 200],
      ['GET', download, undefined, 401, 200, 401, 401],
      ['POST', '/images/preheat', JSON.stringify({ images: [good] }), 401, 202, 401, 401],
      ['GET', '/v2/', undefined, 401, 200, 401, 401],
      ['GET', v2, undefined, 401, 200, 401, 401],
      ['HEAD', `/v2/team/app/blobs/${image.layers[0]!.digest}`, undefined, 401, 200, 401, 401],
      ['POST', '/peer/v1/availability', '{"digests":[]}', 401, 401, 401, 401],
      ['POST', '/peer/v1/runtime', '{"images":[]}', 401, 401, 401, 401],
      ['POST', '/peer/v1/session', '{}', 400, 400, 400, 400],
      ['POST', '/peer/v1/session/proof', '{}', 400, 400, 400, 400],
    ];
    const callers = [{}, token, { authorization: 'Bearer another' }, peer];
    for (const [method, path, body, ...expected] of table) {
      const statuses: number[] = [];
      for (const caller of callers) {
        const headers = { ...caller, ...(body === undefined ? {} : json) };
        statuses.push(
          (await ask(agent, path, { method, headers, ...(body === undefined ? {} : { body }) })).status,
        );
      }
      expect([method, path, ...statuses]).toEqual([method, path, ...expected]);
    }
    expect((await agent.log()).includes('does not declare who may call it')).toBe(false);
  });

  it('describes every public route in /docs-json, with its answers', async () => {
    const { paths } = JSON.parse((await ask(agent, '/docs-json')).body) as {
      paths: Record<string, Record<string, { responses: Record<string, unknown> }>>;
    };
    const answers = (path: string, method = 'get'): string[] =>
      Object.keys(paths[path]?.[method]?.responses ?? {});
    expect(answers('/health')).toEqual(['200']);
    expect(answers('/health/ready')).toEqual(['200', '503']);
    expect(answers('/images')).toEqual(expect.arrayContaining(['200']));
    expect(answers('/images/check')).toEqual(expect.arrayContaining(['200', '400', '404', '503']));
    expect(answers('/images/download')).toEqual(
      expect.arrayContaining(['200', '400', '401', '404', '429', '503']),
    );
    expect(answers('/images/preheat', 'post')).toEqual(expect.arrayContaining(['202', '400', '401', '403']));
    expect(answers('/metrics')).toEqual(['200']);
  });

  it('exposes every metric with its labels, and none of an image that has left the list', async () => {
    const exposed = (await ask(agent, '/metrics')).body + (await ask(cluster.agents[1]!, '/metrics')).body;
    const series = (name: string, ...labels: string[]): void =>
      expect(exposed).toMatch(
        new RegExp(`^${name}${labels.length === 0 ? '[ {]' : `\\{.*${labels.join('.*')}`}`, 'm'),
      );
    series('registry_pull_total', 'image=', 'result="success"');
    series('registry_pull_total', 'image=', 'result="failure"');
    series('registry_pull_duration_seconds_bucket', 'le="1024"', 'image=');
    series('peer_fetch_total', 'image=', 'peer="node-[12]"');
    series('peer_fetch_duration_seconds_bucket', 'le="1"', 'image=');
    expect(exposed).toMatch(/^# TYPE peer_fetch_failed_total counter$/m);
    series('image_preheat_total', 'image=', 'source="registry"');
    series('image_preheat_total', 'image=', 'source="peer"');
    series('image_preheat_failed_total', 'image=', 'source=');
    series('registry_pulling', 'image=', 'node="node-[12]"');
    series('image_preheat_state', 'image=', 'state="ready"');
    series('image_preheat_state', 'image=', 'state="failed"');
    series('image_preheat_drift', 'image=');
    series('image_preheat_unique_bytes', 'image=');
    series('image_preheat_lock_held', 'image=');
    for (const name of [
      'registry_bytes_total',
      'peer_received_bytes_total',
      'peer_sent_bytes_total',
      'store_bytes',
      'peers',
    ])
      series(`image_preheat_${name}`);
    for (const name of ['images', 'invalid_lines', 'last_reload_timestamp_seconds'])
      series(`image_list_${name}`);
    series('http_request_duration_seconds_bucket', 'route=');
    series('process_resident_memory_bytes');

    await agent.list(good);
    await agent.wait('rid of the series', 30_000, async () =>
      (await ask(agent, '/metrics')).body.includes('team/none') ? undefined : true,
    );
    expect((await ask(agent, '/metrics')).body).toContain('team/app');
  }, 60_000);

  describeWith('promtool', 'and promtool', () => {
    it('agree on what /metrics says', async () => {
      const args = ['check', 'metrics'];
      const input = (await ask(agent, '/metrics')).body;
      const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
      expect([status, stdout, stderr]).toEqual([0, '', '']);
    });
  });

  it('has met nothing that it did not foresee', async () => {
    expect((await agent.log()).split('\n').filter((line) => line.includes('"level":50'))).toEqual([]);
  });
});
