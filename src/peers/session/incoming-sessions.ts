import { type KeyObject, randomBytes } from 'node:crypto';

import { HttpStatus, Inject, Injectable } from '@nestjs/common';

import { Clock } from '../../common/clock.js';
import { AccessDenied } from '../access/access-denied.js';
import type { Caller } from '../access/caller.js';
import { ClusterKey } from '../access/cluster-key.js';
import { AgentIdentity } from '../agent-identity.js';
import { parseAuthorization } from './authorization-header.js';
import { ExpiringMap } from './expiring-map.js';
import {
  type Handshake,
  proofOf,
  requestMac,
  sameMac,
  sessionKeysOf,
  type SignedRequest,
} from './handshake-proof.js';
import { ReplayWindow } from './replay-window.js';
import {
  type Hello,
  type HelloAnswer,
  type Proof,
  SESSION_KEY_PURPOSE,
  SESSION_LIFETIME_MS,
} from './session-wire.js';

const CHALLENGE_LIFETIME_MS = 10_000;
/** Thousand agents that start at once, four times over. */
const MAX_CHALLENGES = 4096;
/** One stranger cannot push out the challenges of others. */
const MAX_CHALLENGES_PER_IP = 128;
/** Two for each of two thousand agents: a caller that makes a new one may still be using the one before. */
const MAX_SESSIONS = 4096;

interface IncomingSession {
  readonly caller: Caller;
  readonly secret: KeyObject;
  readonly window: ReplayWindow;
}

/** The callee's side of security.md's challenge–response: challenges it gave out, sessions it granted. */
@Injectable()
export class IncomingSessions {
  private readonly challenges: ExpiringMap<Handshake>;
  private readonly challengesByIp: ExpiringMap<string[]>;
  private readonly sessions: ExpiringMap<IncomingSession>;

  constructor(
    private readonly identity: AgentIdentity,
    private readonly key: ClusterKey,
    @Inject(Clock) clock: Clock,
  ) {
    const nowMs = (): number => clock.monotonicMs();
    this.challenges = new ExpiringMap(CHALLENGE_LIFETIME_MS, MAX_CHALLENGES, nowMs);
    this.challengesByIp = new ExpiringMap(CHALLENGE_LIFETIME_MS, MAX_CHALLENGES, nowMs);
    this.sessions = new ExpiringMap(SESSION_LIFETIME_MS, MAX_SESSIONS, nowMs);
  }

  /**
   * Answers a hello with our nonce and our proof: we prove ourselves first.
   * @param local `ip:port` of our end of the socket, canonical
   * @param remoteIp the caller's, for the bound on what one may have pending
   */
  challenge(hello: Hello, local: string, remoteIp: string): HelloAnswer {
    const { node, instance, platform, protocol } = this.identity;
    const keys = this.key.keysFor(SESSION_KEY_PURPOSE);
    if (keys.length === 0)
      throw new AccessDenied(HttpStatus.SERVICE_UNAVAILABLE, 'PEER_KEY_UNAVAILABLE', 'No peer key yet.');
    if (hello.address !== local) {
      throw new AccessDenied(
        HttpStatus.MISDIRECTED,
        'PEER_ADDRESS_MISMATCH',
        'The address dialled is not the one that was reached: between agents there is no address translation.',
      );
    }
    const handshake: Handshake = {
      caller: { node: hello.node, instance: hello.instance },
      callerNonce: hello.nonce,
      callee: { node, instance, platform, protocol },
      calleeNonce: randomBytes(32).toString('base64url'),
      address: local,
    };
    this.remember(handshake, remoteIp);
    const proofs = keys.map((key) => proofOf(key, 'callee', handshake));
    return { ...handshake.callee, nonce: handshake.calleeNonce, proofs };
  }

  /** Grants the session if the caller proves the key, too. A challenge counts once, whatever the outcome. */
  prove({ nonce, proof }: Proof): void {
    const handshake = this.challenges.take(nonce);
    if (!handshake || handshake.caller.instance === this.identity.instance) throw proofRefused();
    const key = this.key
      .keysFor(SESSION_KEY_PURPOSE)
      .find((candidate) => sameMac(proofOf(candidate, 'caller', handshake), proof));
    if (!key) {
      this.key.suspect();
      throw proofRefused();
    }
    const { id, secret } = sessionKeysOf(key, handshake);
    this.sessions.set(id, { caller: handshake.caller, secret, window: new ReplayWindow() });
  }

  /** Who sent this request. Throws 401 unless it carries the next proof of a session of ours. */
  authenticate(header: string, request: Omit<SignedRequest, 'counter'>): Caller {
    const authorization = parseAuthorization(header);
    if (!authorization)
      throw AccessDenied.unauthorized('PEER_AUTH_INVALID', 'The Authorization header is malformed.');
    const { session: id, counter, mac } = authorization;
    const session = this.sessions.get(id);
    if (!session) throw AccessDenied.unauthorized('PEER_SESSION_UNKNOWN', 'There is no such session.');
    if (!sameMac(requestMac(session.secret, { ...request, counter }), mac))
      throw AccessDenied.unauthorized('PEER_AUTH_INVALID', 'The request was not made with this session.');
    // Only after the MAC: a forged counter must not move the window.
    if (!session.window.accept(counter))
      throw AccessDenied.unauthorized('PEER_REPLAYED', 'This request was seen before, or is too old.');
    return session.caller;
  }

  private remember(handshake: Handshake, remoteIp: string): void {
    const pending = this.challengesByIp.get(remoteIp) ?? [];
    pending.push(handshake.calleeNonce);
    const oldest = pending.length > MAX_CHALLENGES_PER_IP ? pending.shift() : undefined;
    if (oldest !== undefined) this.challenges.take(oldest);
    this.challengesByIp.set(remoteIp, pending);
    this.challenges.set(handshake.calleeNonce, handshake);
  }
}

function proofRefused(): AccessDenied {
  return AccessDenied.unauthorized('PEER_PROOF_REFUSED', 'The proof does not fit a challenge of ours.');
}
