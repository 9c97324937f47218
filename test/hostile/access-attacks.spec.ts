import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

import { proofOf } from '../../src/peers/session/handshake-proof.js';
import { helloAnswerSchema, PROOF_PATH, SESSION_PATH } from '../../src/peers/session/session-wire.js';
import { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage } from '../support/demo-images.js';
import { idWhenReady, wrongBlobs } from '../support/directory-cluster.js';
import { ManInTheMiddle, type SeenRequest } from '../support/man-in-the-middle.js';
import { type RawAnswer, rawRequest } from '../support/raw-http.js';
import { newIdentity, SessionClient } from '../support/session-client.js';
import { tally } from '../support/tally.js';
import { addressOf, startTarget, type Target } from '../support/target.js';

const SETUP_MS = 180_000;
const READY_MS = 120_000;
const KIB = 1024;

/** Counts an attempt to get in, and whether it got anything. */
function refused(answer: RawAnswer): RawAnswer {
  tally('bad inputs tried');
  if (answer.status < 400) tally('unauthorised answers given');
  return answer;
}

/** Posts `body`, again for as long as this client has sent too much within a second. */
async function unhurried(url: string, body: object): Promise<RawAnswer> {
  for (let tries = 1; ; tries += 1) {
    const answer = await rawRequest(url, { body });
    if (answer.status !== 429 || tries === 10) return answer;
    await setTimeout(1000);
  }
}

describe('Agents of one deployment, attacked from outside', () => {
  const cleanup = new Cleanup();
  /** Listed by discovery from the start; each answers in its own way. */
  let rogues: readonly ManInTheMiddle[];
  let target: Target;
  let one: AgentProcess;
  let other: AgentProcess;
  let blob: string;

  beforeAll(async () => {
    const relayTo = { host: '127.0.0.1', port: 0 };
    const identity = { ...newIdentity('rogue'), platform: 'linux/amd64', protocol: 1 };
    const token = (): string => randomBytes(32).toString('base64url');
    const answers: Parameters<typeof ManInTheMiddle.start>[0][] = [
      // Makes up a proof.
      () => json(200, { ...identity, nonce: token(), proofs: [token(), token()] }),
      // Gives back what it was sent.
      ({ body }) =>
        json(200, { ...identity, ...(body as object), proofs: [(body as { nonce: string }).nonce] }),
      // Says that there is no need for proofs, and accepts everything.
      ({ path }) => json(path === PROOF_PATH ? 204 : 200, identity),
      // Passes everything on to a real agent, as it is.
      (_request, relay) => relay(relayTo),
      // The same, but for the address, which is the real agent's.
      ({ body }, relay) =>
        relay(
          relayTo,
          body === undefined ? undefined : { ...(body as object), address: `127.0.0.1:${relayTo.port}` },
        ),
      // Answers as somebody who was never asked.
      () => json(200, 'what?'),
    ];
    rogues = await Promise.all(
      answers.map((answer) => cleanup.track(ManInTheMiddle.start(answer), (rogue) => rogue.stop())),
    );
    target = await startTarget(cleanup, 2);
    [one, other] = target.agents as [AgentProcess, AgentProcess];
    relayTo.port = other.port;
    const peers = [one, other].map(({ address }) => address);
    for (const agent of target.agents) {
      await agent.end();
      const listed = [...rogues.map(({ address }) => `${address.host}:${address.port}`), ...peers];
      agent.set('PEERS', listed.join(','));
      agent.start();
    }
    await Promise.all(target.agents.map((agent) => agent.until(target.image, 'ready', READY_MS)));
    blob = `/v2/team/app/blobs/${target.digests[0]}`;
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  const get = async (agent: AgentProcess, authorization: string, path = blob): Promise<RawAnswer> =>
    rawRequest(`${agent.url}${path}`, { headers: { authorization } });

  it('let nobody in who has another key', async () => {
    await expect(SessionClient.meet(addressOf(one), randomBytes(32))).rejects.toThrow('another key');
    const answer = await helloOf(one);
    const { nonce = '' } = answer.body as { nonce?: string };
    for (const proof of ['A'.repeat(43), (answer.body as { proofs: string[] }).proofs[0]])
      expect(refused(await rawRequest(`${one.url}${PROOF_PATH}`, { body: { nonce, proof } }))).toMatchObject({
        status: 401,
        body: { code: 'PEER_PROOF_REFUSED' },
      });
  });

  it(
    'take a request once: not again, not elsewhere, and not after a restart',
    async () => {
      const session = await SessionClient.meet(addressOf(one), target.sessionKey);
      const authorization = session.sign('GET', blob);
      expect((await get(one, authorization)).status).toBe(200);
      expect(refused(await get(one, authorization))).toMatchObject({
        status: 401,
        body: { code: 'PEER_REPLAYED' },
      });
      const unknown = { status: 401, body: { code: 'PEER_SESSION_UNKNOWN' } };
      const unused = session.sign('GET', blob);
      expect(refused(await get(other, unused))).toMatchObject(unknown);
      await one.end('SIGKILL');
      one.start();
      await one.until(target.image, 'ready', READY_MS);
      expect(refused(await get(one, unused))).toMatchObject(unknown);
      expect(refused(await get(one, authorization))).toMatchObject(unknown);
    },
    READY_MS,
  );

  it('take a proof for the handshake that it belongs to, with the agent that it was made for', async () => {
    const caller = newIdentity('caller');
    const nonce = randomBytes(32).toString('base64url');
    const address = `127.0.0.1:${one.port}`;
    const hello = (await helloOf(one, { ...caller, nonce })).body as { nonce: string; proofs: string[] };
    const { nonce: calleeNonce = '', ...callee } = helloAnswerSchema.parse(hello);
    const handshake = { caller, callerNonce: nonce, callee, calleeNonce, address };
    const body = { nonce: calleeNonce, proof: proofOf(target.sessionKey, 'caller', handshake) };
    expect(refused(await rawRequest(`${other.url}${PROOF_PATH}`, { body })).status).toBe(401);
    expect((await rawRequest(`${one.url}${PROOF_PATH}`, { body })).status).toBe(204);
    expect(refused(await rawRequest(`${one.url}${PROOF_PATH}`, { body })).status).toBe(401);
  });

  it(
    'give a rogue in discovery nothing that opens anything, anywhere',
    async () => {
      const image = await newImage('captured');
      await target.cluster.list(target.image, image);
      await idWhenReady(target.agents, image, READY_MS);
      for (const rogue of rogues) {
        await one.wait('all rogues asked', READY_MS, () =>
          Promise.resolve(rogue.seen.length > 0 || undefined),
        );
        // A hello each time, and never a proof or a request after it.
        expect(new Set(rogue.seen.map(({ path }) => path))).toEqual(new Set([SESSION_PATH]));
        expect(rogue.seen.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
      }
      const captured = rogues.flatMap(({ seen }) => seen.slice(0, 20));
      for (const agent of target.agents)
        for (const request of captured) await expectNothingFrom(agent, request);
      for (const agent of target.agents) expect(await wrongBlobs(agent)).toEqual([]);
      expect(await one.metric('peer_fetch_total', 'peer="rogue"')).toBe(0);
    },
    READY_MS,
  );

  /** What was said to a rogue says nothing to an agent: it may say hello with it, as anyone may, and gets no further. */
  async function expectNothingFrom(agent: AgentProcess, { body }: SeenRequest): Promise<void> {
    const own = { ...(body as object), address: `127.0.0.1:${agent.port}` };
    const answer = await unhurried(`${agent.url}${SESSION_PATH}`, own);
    if (answer.status === 200) {
      const { nonce } = answer.body as { nonce: string };
      const { nonce: theirs } = body as { nonce: string };
      for (const proof of [theirs, nonce])
        expect(refused(await unhurried(`${agent.url}${PROOF_PATH}`, { nonce, proof })).status).toBe(401);
    }
    expect(refused(await unhurried(`${agent.url}${SESSION_PATH}`, body as object))).toMatchObject({
      status: 421,
      body: { code: 'PEER_ADDRESS_MISMATCH' },
    });
  }

  it('answer other users of the node at the mirror with 404', async () => {
    const paths = ['/', blob, `/v2/preheat/${'0'.repeat(32)}/blobs/${target.digests[0]}`, '/v2/_catalog'];
    const script = `
      const paths = ${JSON.stringify(paths)};
      const statuses = await Promise.all(paths.map(async (path) =>
        (await fetch('http://127.0.0.1:${one.mirrorPort}' + path)).status));
      console.log(JSON.stringify([process.getuid(), ...statuses]));`;
    const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    // The program itself may lie where nobody else may look.
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      ...nobody,
      cwd: '/',
    });
    tally('bad inputs tried', paths.length);
    expect(JSON.parse(stdout)).toEqual([nobody.uid ?? process.getuid?.(), 404, 404, 404, 404]);
  });

  it(
    'do not start for others than this machine without being told who may ask',
    async () => {
      const agent = await cleanup.track(
        AgentProcess.prepare({ node: 'open', environment: { RUNTIME: 'directory', HOST: '0.0.0.0' } }),
        (made) => made.dispose(),
      );
      agent.start();
      expect(await agent.exit(READY_MS)).toBe(78);
      const log = await agent.log();
      for (const choice of ['PEER_AUTH', 'PEER_KEY_FILE', 'none']) expect(log).toContain(choice);
    },
    READY_MS,
  );

  it(
    'change key and token while they run: the new ones count, the old token does not',
    async () => {
      const { directory } = target.cluster;
      const before = target.cluster.apiToken;
      const after = randomBytes(24).toString('hex');
      await writeFile(join(directory, 'peer-key'), randomBytes(32).toString('hex'));
      await writeFile(join(directory, 'api-token'), after);
      for (const agent of target.agents) {
        await agent.wait('the new token to count', READY_MS, async () =>
          (await get(agent, `Bearer ${after}`)).status === 200 ? true : undefined,
        );
        expect(refused(await get(agent, `Bearer ${before}`)).status).toBe(401);
      }
      const image = await newImage('rotated');
      await target.cluster.list(target.image, image);
      await idWhenReady(target.agents, image, READY_MS);
      const fetched = await Promise.all(
        target.agents.map((agent) => agent.metric('peer_fetch_total', 'rotated')),
      );
      expect(fetched.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    },
    READY_MS,
  );

  async function newImage(name: string): Promise<string> {
    await addImage(target.registry, `team/${name}`, 200 * KIB);
    return `${target.registry.host}/team/${name}:1.0`;
  }

  function helloOf(agent: AgentProcess, own: object = {}): Promise<RawAnswer> {
    const nonce = randomBytes(32).toString('base64url');
    const body = { protocol: 1, ...newIdentity('caller'), nonce, address: `127.0.0.1:${agent.port}`, ...own };
    return rawRequest(`${agent.url}${SESSION_PATH}`, { body });
  }
});

function json(status: number, body: unknown): Promise<RawAnswer> {
  return Promise.resolve({ status, headers: {}, body });
}
