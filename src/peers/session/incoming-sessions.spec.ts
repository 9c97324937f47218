import { randomBytes } from 'node:crypto';

import { InstantClock } from '../../../test/support/instant-clock.js';
import { ClusterKey } from '../access/cluster-key.js';
import { AgentIdentity } from '../agent-identity.js';
import { formatAuthorization } from './authorization-header.js';
import { proofOf, requestMac, sessionKeysOf } from './handshake-proof.js';
import { IncomingSessions } from './incoming-sessions.js';
import { SESSION_KEY_PURPOSE } from './session-wire.js';

const LOCAL = '10.0.0.1:8080';
const { signal } = new AbortController();

function refusal(code: string): Error {
  return expect.objectContaining({ code }) as Error;
}

describe('IncomingSessions', () => {
  const clock = new InstantClock();
  const identity = new AgentIdentity({
    nodeName: 'callee',
    platform: { os: 'linux', architecture: 'amd64' },
  });
  const material = { peerKey: randomBytes(32) };
  let key: ClusterKey;
  let sessions: IncomingSessions;

  beforeEach(async () => {
    key = new ClusterKey({ pollIntervalMs: 1, load: () => Promise.resolve(material) }, clock);
    await key.reload(signal);
    sessions = new IncomingSessions(identity, key, clock);
  });

  function challenge(remoteIp = '10.0.0.2', instance = randomBytes(16).toString('hex')) {
    const caller = { node: 'caller', instance };
    const callerNonce = randomBytes(32).toString('base64url');
    const hello = { protocol: 1, ...caller, nonce: callerNonce, address: LOCAL };
    const { nonce = '', proofs = [], ...callee } = sessions.challenge(hello, LOCAL, remoteIp);
    const handshake = { caller, callerNonce, callee, calleeNonce: nonce, address: LOCAL };
    const [secret] = key.keysFor(SESSION_KEY_PURPOSE);
    return { handshake, proofs, nonce, proof: proofOf(secret!, 'caller', handshake), key: secret! };
  }

  function establish(remoteIp?: string) {
    const { nonce, proof, key: secret, handshake } = challenge(remoteIp);
    sessions.prove({ nonce, proof });
    const keys = sessionKeysOf(secret, handshake);
    const request = { method: 'GET', path: '/x', range: undefined };
    let counter = 0;
    return () => {
      counter += 1;
      const mac = requestMac(keys.secret, { ...request, counter });
      return sessions.authenticate(formatAuthorization({ session: keys.id, counter, mac }), request);
    };
  }

  it('proves itself, and takes the proof of a caller', () => {
    const { handshake, proofs, key: secret } = challenge();
    expect(proofs).toEqual([proofOf(secret, 'callee', handshake)]);
    const ask = establish();
    expect(ask()).toMatchObject({ node: 'caller' });
    expect(ask()).toMatchObject({ node: 'caller' });
  });

  it('proves nothing for an address that is not its own', () => {
    const hello = {
      protocol: 1,
      node: 'caller',
      instance: '1'.repeat(32),
      nonce: 'a'.repeat(43),
      address: '10.0.0.9:8080',
    };
    expect(() => sessions.challenge(hello, LOCAL, '10.0.0.2')).toThrow(refusal('PEER_ADDRESS_MISMATCH'));
  });

  it('forgets a challenge after ten seconds, and a session after ten minutes', () => {
    const late = challenge();
    clock.advance(10_001);
    expect(() => sessions.prove(late)).toThrow();
    const ask = establish();
    clock.advance(599_000);
    expect(ask()).toMatchObject({ node: 'caller' });
    clock.advance(2_000);
    expect(ask).toThrow();
  });

  it('grants no session to itself', () => {
    const self = challenge('10.0.0.1', identity.instance);
    expect(() => sessions.prove(self)).toThrow(refusal('PEER_PROOF_REFUSED'));
  });

  it('keeps the challenges of others when one asks for too many', () => {
    const patient = challenge('10.0.0.2');
    const flood = Array.from({ length: 5_000 }, () => challenge('10.0.0.66'));
    expect(() => sessions.prove(patient)).not.toThrow();
    expect(() => sessions.prove(flood[0]!)).toThrow();
    expect(() => sessions.prove(flood.at(-1)!)).not.toThrow();
  });

  it('keeps a bounded number of sessions, the newest', () => {
    const oldest = establish();
    const all = Array.from({ length: 4_096 }, () => establish());
    expect(oldest).toThrow();
    expect(all.at(-1)!()).toMatchObject({ node: 'caller' });
  });

  it('takes nobody without a key', async () => {
    const none = new ClusterKey({ pollIntervalMs: 1, load: () => Promise.resolve({}) }, clock);
    await none.reload(signal);
    sessions = new IncomingSessions(identity, none, clock);
    expect(() => challenge()).toThrow(refusal('PEER_KEY_UNAVAILABLE'));
  });
});
