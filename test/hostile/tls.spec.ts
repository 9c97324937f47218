import { request } from 'node:https';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { once } from 'node:events';

import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentImage, AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage, startDemoRegistry } from '../support/demo-images.js';
import { prepareDirectoryCluster, wrongBlobs } from '../support/directory-cluster.js';
import { describeWith } from '../support/engines.js';
import { ManInTheMiddle } from '../support/man-in-the-middle.js';
import { sendBytes } from '../support/raw-socket.js';
import { tally } from '../support/tally.js';
import { makeCertificates, type TestCertificates, TlsFront } from '../support/tls-front.js';

const SETUP_MS = 180_000;
const READY_MS = 120_000;
const KIB = 1024;

/** What a client shows; nothing is checked of the agent's own certificate but in the test of that. */
type Shown = Partial<TestCertificates['client']>;

interface Answer {
  readonly status: number;
  readonly body: string;
}

function ask(
  { port }: AgentProcess,
  path: string,
  shown: Shown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      path,
      headers,
      ...shown,
      rejectUnauthorized: false,
      agent: false,
    };
    const sent = request({ ...options, timeout: 10_000 }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', reject);
    sent.end();
  });
}

describeWith('openssl', 'Agents with mutual TLS', () => {
  const cleanup = new Cleanup();
  let ours: TestCertificates;
  let others: TestCertificates;
  let cluster: AgentCluster;
  let one: AgentProcess;
  let other: AgentProcess;
  let rogue: ManInTheMiddle;
  let images: string[];

  beforeAll(async () => {
    [ours, others] = [await makeCertificates('node.test'), await makeCertificates('node.test')];
    const registry = await startDemoRegistry(cleanup);
    const names = ['first', 'second'];
    for (const [at, name] of names.entries()) await addImage(registry, `team/${name}`, (300 + 50 * at) * KIB);
    images = names.map((name) => `${registry.host}/team/${name}:1.0`);
    cluster = await prepareDirectoryCluster(cleanup, 2);
    [one, other] = cluster.agents as [AgentProcess, AgentProcess];
    // Discovery lists one who speaks TLS, too, with a certificate of its own.
    rogue = await cleanup.track(
      ManInTheMiddle.start(() => Promise.resolve({ status: 200, headers: {}, body: {} })),
      (started) => started.stop(),
    );
    const front = await cleanup.track(TlsFront.start(others, rogue.address.port, false), (started) =>
      started.stop(),
    );
    await install(ours);
    for (const agent of cluster.agents) {
      agent.set('PEERS', [one.address, other.address, `127.0.0.1:${front.port}`].join(','));
      for (const name of ['CERT', 'KEY', 'CA']) agent.set(`TLS_${name}_FILE`, join(cluster.directory, name));
      await agent.list(images[0]!);
      agent.start();
    }
    for (const agent of cluster.agents) await ready(agent, images[0]!, ours.client);
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  async function install({ ca, server }: TestCertificates): Promise<void> {
    await writeFile(join(cluster.directory, 'CERT'), server.cert);
    await writeFile(join(cluster.directory, 'KEY'), server.key);
    await writeFile(join(cluster.directory, 'CA'), ca);
  }

  async function ready(agent: AgentProcess, image: string, shown: Shown): Promise<void> {
    await agent.wait(`${image} ready`, READY_MS, async () => {
      const { images: known } = JSON.parse((await ask(agent, '/images', shown)).body) as {
        images: AgentImage[];
      };
      return known.find((status) => status.image === image && status.state === 'ready');
    });
  }

  async function fromPeers(agent: AgentProcess, shown: Shown): Promise<number> {
    const { body } = await ask(agent, '/metrics', shown);
    return Number(/^image_preheat_peer_received_bytes_total (\d+)/m.exec(body)?.[1]);
  }

  /** 403, with the API token or without. */
  async function expectRefused(shown: Shown): Promise<void> {
    for (const path of [
      '/images',
      '/v2/',
      '/metrics',
      '/docs-json',
      '/health/',
      '/HEALTH',
      '/peer/v1/session',
    ]) {
      for (const headers of [{}, cluster.authorization]) {
        const answer = await ask(one, path, shown, headers);
        tally('bad inputs tried');
        if (answer.status < 400) tally('unauthorised answers given');
        expect([path, answer.status]).toEqual([path, 403]);
        expect(answer.body).toContain('CLIENT_CERTIFICATE_REQUIRED');
      }
    }
  }

  it('fetch from each other', async () => {
    const received = await Promise.all(cluster.agents.map((agent) => fromPeers(agent, ours.client)));
    expect(Math.max(...received)).toBeGreaterThan(0);
    for (const agent of cluster.agents) expect(await wrongBlobs(agent)).toEqual([]);
  });

  it('speak no plain HTTP', async () => {
    expect(
      (await sendBytes(one.port, 'GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).status,
    ).toBe(0);
  });

  it('tell their health to everyone, and nothing else without a certificate of their CA', async () => {
    for (const path of ['/health', '/health/ready']) expect((await ask(one, path, {})).status).toBe(200);
    await expectRefused({});
    await expectRefused(others.client);
    expect((await ask(one, '/images', ours.client)).status).toBe(200);
  });

  it('want the API token all the same', async () => {
    expect((await ask(one, '/v2/', ours.client)).status).toBe(401);
    expect((await ask(one, '/v2/', ours.client, cluster.authorization)).status).toBe(200);
  });

  it('let nobody in who resumes a session that had no certificate', async () => {
    const { session, socket: first } = await handshake();
    first.destroy();
    const { socket } = await handshake(session);
    expect(socket.isSessionReused()).toBe(true);
    socket.write('GET /images HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    const answer = await text(socket);
    tally('bad inputs tried');
    if (answer.includes(' 200 ')) tally('unauthorised answers given');
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
  });

  /** A connection, without a certificate if none is shown, and a ticket to resume its session with. */
  async function handshake(
    resumed?: Buffer,
    shown: Shown = {},
  ): Promise<{ session: Buffer; socket: TLSSocket }> {
    const socket = connectTls({
      host: '127.0.0.1',
      port: one.port,
      rejectUnauthorized: false,
      ...shown,
      ...(resumed ? { session: resumed } : {}),
    });
    if (resumed) {
      await once(socket, 'secureConnect');
      return { session: resumed, socket };
    }
    // Tickets come after the handshake: they are only seen by who reads.
    socket.resume();
    const [session] = (await once(socket, 'session')) as [Buffer];
    // The event comes in the midst of a read; what is written before that is over is not sent.
    await setImmediate();
    return { session, socket };
  }

  it('say nothing to a listed peer whose certificate another CA has signed', () => {
    expect(rogue.seen).toEqual([]);
  });

  /** Asks on a connection that is kept alive. @returns undefined when it was ended */
  async function askOn(socket: TLSSocket): Promise<number | undefined> {
    const over = once(socket, 'close').catch(() => []);
    if (socket.destroyed) return undefined;
    const answered = once(socket, 'data').catch(() => []);
    socket.write('HEAD /images HTTP/1.1\r\nHost: a\r\n\r\n');
    const [answer] = (await Promise.race([answered, over])) as unknown[];
    return Buffer.isBuffer(answer)
      ? Number(/^HTTP\/1\.1 (\d+)/.exec(answer.toString('latin1'))?.[1])
      : undefined;
  }

  it(
    'take other certificates while they run, and the old ones no more, on no connection made before either',
    async () => {
      const { session, socket: kept } = await handshake(undefined, ours.client);
      kept.on('error', () => undefined);
      expect(await askOn(kept)).toBe(200);
      await install(others);
      for (const agent of cluster.agents)
        await agent.wait('the new CA to count', READY_MS, async () =>
          (await ask(agent, '/images', others.client)).status === 200 ? true : undefined,
        );
      await expectRefused(ours.client);
      tally('bad inputs tried', 2);
      const afterwards = await askOn(kept);
      if (afterwards !== undefined) tally('unauthorised answers given');
      expect(afterwards).toBeUndefined();
      const { socket: resumed } = await handshake(session, ours.client);
      expect(resumed.isSessionReused()).toBe(false);
      expect(await askOn(resumed)).toBe(403);
      resumed.destroy();
      const before = await Promise.all(cluster.agents.map((agent) => fromPeers(agent, others.client)));
      await cluster.list(...images);
      for (const agent of cluster.agents) await ready(agent, images[1]!, others.client);
      const after = await Promise.all(cluster.agents.map((agent) => fromPeers(agent, others.client)));
      expect(after.some((bytes, at) => bytes > before[at]!)).toBe(true);
    },
    READY_MS,
  );
});
