import { randomBytes } from 'node:crypto';

import type { HostPort } from '../../src/config/app-config.js';
import { digestOf } from '../../src/domain/digest.js';
import { ClusterKey } from '../../src/peers/access/cluster-key.js';
import { OutgoingSessions } from '../../src/peers/client/outgoing-sessions.js';
import { proofOf } from '../../src/peers/session/handshake-proof.js';
import {
  type HelloAnswer,
  PROOF_PATH,
  SESSION_KEY_PURPOSE,
  SESSION_PATH,
} from '../../src/peers/session/session-wire.js';
import { API_TOKEN, PeerAgent, type PeerAgentOptions } from '../support/peer-agent.js';
import { rawRequest } from '../support/raw-http.js';
import { ManInTheMiddle } from '../support/man-in-the-middle.js';

const { signal } = new AbortController();
const AVAILABILITY = '/peer/v1/availability';
const digest = digestOf(Buffer.from('a layer'));
const blobPath = `/v2/preheat/blobs/${digest}`;

describe('the door of an agent', () => {
  const open: { stop(): Promise<void> }[] = [];
  const start = async (options: PeerAgentOptions = {}): Promise<PeerAgent> => {
    const agent = await PeerAgent.start(options);
    open.push(agent);
    return agent;
  };
  const intercept = async (answer: Parameters<typeof ManInTheMiddle.start>[0]): Promise<ManInTheMiddle> => {
    const middle = await ManInTheMiddle.start(answer);
    open.push(middle);
    return middle;
  };
  const meet = async (agent: PeerAgent, address: HostPort) => {
    agent.known.push(address);
    await agent.service.refresh(signal);
    return agent.service.peers();
  };

  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.stop()));
  });

  describe('between agents', () => {
    it('is closed to another key, and tells it nothing that it could use', async () => {
      const [one, stranger] = await Promise.all([
        start({ node: 'one' }),
        start({ node: 'stranger', key: randomBytes(32) }),
      ]);
      await one.meet(stranger);
      await stranger.meet(one);
      expect(one.service.peers()).toEqual([]);
      expect(stranger.service.peers()).toEqual([]);
    });

    it('is closed without a session, and says who is behind it', async () => {
      const agent = await start({ node: 'one' });
      const answer = await rawRequest(`${agent.url}${AVAILABILITY}`, { body: { digests: [] } });
      expect(answer.status).toBe(401);
      expect(answer.body).toEqual({
        statusCode: 401,
        code: 'PEER_AUTH_REQUIRED',
        message: expect.any(String) as string,
      });
      expect(answer.headers).toMatchObject({
        'preheat-node': 'one',
        'preheat-instance': agent.identity.instance,
        'preheat-platform': 'linux/amd64',
        'preheat-protocol': '1',
      });
    });

    it('sends no proof to one who cannot prove itself', async () => {
      const one = await start({ node: 'one' });
      const rogue = await intercept(() =>
        Promise.resolve({
          status: 200,
          headers: {},
          body: {
            node: 'rogue',
            instance: '0'.repeat(32),
            platform: 'linux/amd64',
            protocol: 1,
            nonce: 'A'.repeat(43),
            proofs: ['A'.repeat(43)],
          },
        }),
      );
      expect(await meet(one, rogue.address)).toEqual([]);
      expect(rogue.seen.map(({ path }) => path)).toEqual([SESSION_PATH]);
    });

    it('is closed to a relay between two agents, whatever address it claims', async () => {
      const [one, other] = await Promise.all([start({ node: 'one' }), start({ node: 'other' })]);
      const passing = await intercept((_request, relay) => relay(other.address));
      expect(await meet(one, passing.address)).toEqual([]);
      expect(passing.seen.map(({ path }) => path)).toEqual([SESSION_PATH]);

      // It names the real address, so the callee proves itself, but not for the address that was dialled.
      const lying = await intercept((request, relay) =>
        relay(other.address, {
          ...(request.body as object),
          address: `127.0.0.1:${other.address.port}`,
        }),
      );
      expect(await meet(one, lying.address)).toEqual([]);
      expect(lying.seen.map(({ path }) => path)).toEqual([SESSION_PATH]);
    });

    it("is closed to an agent's own proof sent back to it", async () => {
      const one = await start({ node: 'one' });
      const hello = await rawRequest(`${one.url}${SESSION_PATH}`, {
        body: {
          protocol: 1,
          node: 'rogue',
          instance: '0'.repeat(32),
          nonce: randomBytes(32).toString('base64url'),
          address: `127.0.0.1:${one.address.port}`,
        },
      });
      const { nonce, proofs } = hello.body as { nonce: string; proofs: string[] };
      expect(proofs).toHaveLength(1);
      const answer = await rawRequest(`${one.url}${PROOF_PATH}`, { body: { nonce, proof: proofs[0] } });
      expect(answer).toMatchObject({ status: 401, body: { code: 'PEER_PROOF_REFUSED' } });
    });

    it('takes a proof once', async () => {
      const one = await start({ node: 'one' });
      const caller = { node: 'other', instance: randomBytes(16).toString('hex') };
      const callerNonce = randomBytes(32).toString('base64url');
      const address = `127.0.0.1:${one.address.port}`;
      const hello = await rawRequest(`${one.url}${SESSION_PATH}`, {
        body: { protocol: 1, ...caller, nonce: callerNonce, address },
      });
      const { nonce, proofs, ...callee } = hello.body as HelloAnswer & { nonce: string };
      expect(proofs).toHaveLength(1);
      const [key] = one.get(ClusterKey).keysFor(SESSION_KEY_PURPOSE);
      const handshake = { caller, callerNonce, callee, calleeNonce: nonce, address };
      const body = { nonce, proof: proofOf(key!, 'caller', handshake) };
      expect((await rawRequest(`${one.url}${PROOF_PATH}`, { body })).status).toBe(204);
      expect(await rawRequest(`${one.url}${PROOF_PATH}`, { body })).toMatchObject({
        status: 401,
        body: { code: 'PEER_PROOF_REFUSED' },
      });
    });

    describe('in a session', () => {
      async function session() {
        const [one, other] = await Promise.all([start({ node: 'one' }), start({ node: 'other' })]);
        await one.meet(other);
        other.addBlob('a layer');
        const mine = await one.get(OutgoingSessions).with(other.address, signal);
        const get = (path: string, headers: Record<string, string>, method?: 'GET' | 'HEAD') =>
          rawRequest(`${other.url}${path}`, { headers, ...(method ? { method } : {}) });
        return { one, other, mine, get };
      }

      it('takes a request once', async () => {
        const { mine, get } = await session();
        const headers = mine.headersFor('GET', blobPath, undefined);
        expect((await get(blobPath, headers)).status).toBe(200);
        expect(await get(blobPath, headers)).toMatchObject({
          status: 401,
          body: { statusCode: 401, code: 'PEER_REPLAYED' },
        });
      });

      it('takes a signature for nothing but the request that was signed', async () => {
        const { mine, get } = await session();
        const sign = () => mine.headersFor('GET', blobPath, undefined);
        const refused = { status: 401, body: { code: 'PEER_AUTH_INVALID' } };
        expect(await get(`${blobPath}?x=1`, sign())).toMatchObject(refused);
        expect((await get(blobPath, sign(), 'HEAD')).status).toBe(401);
        expect(await get(blobPath, { ...sign(), range: 'bytes=1-' })).toMatchObject(refused);
        const more = { Authorization: sign()['Authorization']!.replace(/counter=\d+/, 'counter=999') };
        expect(await get(blobPath, more)).toMatchObject(refused);
        expect((await get(blobPath, sign())).status).toBe(200);
      });

      it('takes no request of another pair', async () => {
        const { mine } = await session();
        const third = await start({ node: 'third' });
        const headers = mine.headersFor('GET', blobPath, undefined);
        expect(await rawRequest(`${third.url}${blobPath}`, { headers })).toMatchObject({
          status: 401,
          body: { code: 'PEER_SESSION_UNKNOWN' },
        });
      });

      it('ends after ten minutes, and goes on with a new handshake', async () => {
        const { one, other, mine, get } = await session();
        await other.clock.advance(600_000);
        expect(await get(blobPath, mine.headersFor('GET', blobPath, undefined))).toMatchObject({
          status: 401,
          body: { code: 'PEER_SESSION_UNKNOWN' },
        });
        const [peer] = one.service.peers();
        expect((await one.service.availability(peer!, { blobs: [{ digest, size: 7 }] }, signal)).size).toBe(
          1,
        );
      });
    });

    it('stays open while the key is changed, one agent after the other', async () => {
      const [one, other] = await Promise.all([start({ node: 'one' }), start({ node: 'other' })]);
      other.addBlob('a layer');
      const rotate = async (agent: PeerAgent, peerKey: Buffer) => {
        agent.secrets.material = { ...agent.secrets.material, peerKey };
        await agent.get(ClusterKey).reload(signal);
        agent.get(OutgoingSessions).retain([]);
      };
      const works = async () => {
        await Promise.all([one.meet(other), other.meet(one)]);
        one.get(OutgoingSessions).retain([]);
        const [peer] = one.service.peers();
        return (await one.service.availability(peer!, { blobs: [{ digest, size: 7 }] }, signal)).size === 1;
      };
      const next = randomBytes(32);
      expect(await works()).toBe(true);
      await rotate(other, next);
      expect(await works()).toBe(true);
      await rotate(one, next);
      expect(await works()).toBe(true);

      // Once the time of grace is over, the old key opens nothing.
      const late = await start({ node: 'late' });
      expect(await meet(late, other.address)).toHaveLength(1);
      await other.clock.advance(16 * 60_000);
      const tooLate = await start({ node: 'too-late' });
      expect(await meet(tooLate, other.address)).toEqual([]);
    });

    it('is open to everyone with PEER_AUTH=none', async () => {
      const agent = await start({ peerAuth: 'none' });
      agent.addBlob('a layer');
      expect((await rawRequest(`${agent.url}${blobPath}`)).body).toBe('a layer');
      expect((await rawRequest(`${agent.url}${AVAILABILITY}`, { body: { digests: [digest] } })).status).toBe(
        200,
      );
      expect((await rawRequest(`${agent.url}/token`)).status).toBe(401);
    });

    it.each<[string, string, unknown]>([
      ['no body', SESSION_PATH, {}],
      ['an instance that is none', SESSION_PATH, { instance: '../../etc' }],
      ['a nonce of another length', SESSION_PATH, { nonce: 'abc' }],
      ['a proof that is a number', PROOF_PATH, { nonce: 'A'.repeat(43), proof: 7 }],
    ])('answers 400 to %s', async (_name, path, body) => {
      const agent = await start();
      const answer = await rawRequest(`${agent.url}${path}`, { body });
      expect(answer).toMatchObject({ status: 400, body: { statusCode: 400, code: 'INVALID_REQUEST' } });
    });
  });

  describe('for people and tools', () => {
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

    it('opens to the API token', async () => {
      const agent = await start();
      agent.addBlob('a layer');
      for (const path of ['/token', blobPath]) {
        expect((await rawRequest(`${agent.url}${path}`, bearer(API_TOKEN))).status).toBe(200);
        const without = await rawRequest(`${agent.url}${path}`);
        expect(without).toMatchObject({ status: 401, body: { code: 'API_TOKEN_REQUIRED', statusCode: 401 } });
        const wrong = await rawRequest(`${agent.url}${path}`, bearer('x'.repeat(64)));
        expect(wrong).toMatchObject({ status: 401, body: { code: 'API_TOKEN_INVALID' } });
      }
    });

    it('gives no route of agents to the API token', async () => {
      const agent = await start();
      const answer = await rawRequest(`${agent.url}${AVAILABILITY}`, {
        ...bearer(API_TOKEN),
        body: { digests: [] },
      });
      expect(answer).toMatchObject({ status: 401, body: { code: 'PEER_AUTH_REQUIRED' } });
    });

    it('leaves state open to read, unless READ_AUTH is set', async () => {
      expect((await rawRequest(`${(await start()).url}/state`)).status).toBe(200);
      const closed = await start({ readAuth: true });
      expect((await rawRequest(`${closed.url}/state`)).status).toBe(401);
      expect((await rawRequest(`${closed.url}/state`, bearer(API_TOKEN))).status).toBe(200);
      expect((await rawRequest(`${closed.url}/open`)).status).toBe(200);
    });

    it('refuses a route that does not say who may call it', async () => {
      const agent = await start({ peerAuth: 'none' });
      const answer = await rawRequest(`${agent.url}/forgotten`, bearer(API_TOKEN));
      expect(answer).toMatchObject({ status: 403, body: { statusCode: 403, code: 'ACCESS_UNDECLARED' } });
    });

    it('is closed when there is no API token', async () => {
      const agent = await start();
      agent.secrets.material = {};
      await agent.get(ClusterKey).reload(signal);
      expect((await rawRequest(`${agent.url}/token`, bearer(API_TOKEN))).status).toBe(401);
      expect((await rawRequest(`${agent.url}/token`, bearer('undefined'))).status).toBe(401);
    });
  });
});
