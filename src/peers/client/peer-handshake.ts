import { randomBytes } from 'node:crypto';

import { Inject, Injectable } from '@nestjs/common';
import type { Dispatcher } from 'undici';

import { withTimeout } from '../../common/abort.js';
import { AppConfig, type HostPort } from '../../config/app-config.js';
import { ClusterKey } from '../access/cluster-key.js';
import { AgentIdentity } from '../agent-identity.js';
import { canonicalAddress, formatAddress } from '../peer-address.js';
import { PeerError } from '../peer-error.js';
import type { PeerIdentity } from '../peer-identity.js';
import {
  type Handshake,
  proofOf,
  sameMac,
  type SessionKeys,
  sessionKeysOf,
} from '../session/handshake-proof.js';
import {
  type Hello,
  type HelloAnswer,
  helloAnswerSchema,
  PROOF_PATH,
  SESSION_KEY_PURPOSE,
  SESSION_PATH,
} from '../session/session-wire.js';
import { HELLO_LIMITS } from '../wire/answer-limits.js';
import { discard, PeerTransport } from './peer-transport.js';
import { readJson } from './read-json.js';

const HANDSHAKE_TIMEOUT_MS = 5_000;

/** Who answered at an address; `keys` when a session was made with it (not with `PEER_AUTH=none`, not with ourselves). */
export interface Acquaintance {
  readonly identity: PeerIdentity;
  readonly keys?: SessionKeys;
}

/** The caller's side of security.md's challenge–response. */
@Injectable()
export class PeerHandshake {
  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    private readonly self: AgentIdentity,
    private readonly key: ClusterKey,
    private readonly transport: PeerTransport,
  ) {}

  /**
   * Asks who is at `address` (an IP address) and makes a session. Whoever cannot prove the key gets nothing from us.
   * @throws PeerError; the signal's reason when it aborts
   */
  async meet(address: HostPort, signal: AbortSignal): Promise<Acquaintance> {
    return this.limited(signal, async (limit) => {
      const { identity, proven } = await this.greet(address, limit);
      if (!proven || identity.instance === this.self.instance) return { identity };
      const { handshake, key } = proven;
      const proof = { nonce: handshake.calleeNonce, proof: proofOf(key, 'caller', handshake) };
      const answer = await this.post(address, PROOF_PATH, proof, limit);
      await discard(answer.body);
      if (answer.statusCode !== 204) throw refused(answer.statusCode);
      return { identity, keys: sessionKeysOf(key, handshake) };
    });
  }

  /** Asks who is at `address`, and makes it prove that; makes no session. Throws as `meet` does. */
  async identify(address: HostPort, signal: AbortSignal): Promise<PeerIdentity> {
    return this.limited(signal, async (limit) => (await this.greet(address, limit)).identity);
  }

  /** The first half: it says who it is and, with `PEER_AUTH=key`, proves it. */
  private async greet(
    address: HostPort,
    signal: AbortSignal,
  ): Promise<{ identity: PeerIdentity; proven?: { handshake: Handshake; key: Buffer } }> {
    const hello: Hello = {
      protocol: this.self.protocol,
      node: this.self.node,
      instance: this.self.instance,
      nonce: randomBytes(32).toString('base64url'),
      address: formatAddress(canonicalAddress(address)),
    };
    const answer = await this.post(address, SESSION_PATH, hello, signal);
    if (answer.statusCode !== 200) {
      await discard(answer.body);
      throw refused(answer.statusCode);
    }
    const greeting = await readJson(answer.body, helloAnswerSchema, HELLO_LIMITS);
    const { node, instance, platform, protocol } = greeting;
    const identity = { node, instance, platform, protocol };
    if (this.config.access.peerAuth === 'none') return { identity };
    return { identity, proven: this.verify(hello, identity, greeting) };
  }

  /** Finds the key with which the callee proved itself. Without one it is told nothing more. */
  private verify(
    hello: Hello,
    callee: PeerIdentity,
    { nonce, proofs = [] }: HelloAnswer,
  ): { handshake: Handshake; key: Buffer } {
    const keys = this.key.keysFor(SESSION_KEY_PURPOSE);
    if (keys.length === 0) throw new PeerError('auth', 'This agent has no peer key yet.');
    if (nonce === undefined) throw new PeerError('auth', 'The peer does not prove itself.');
    const handshake: Handshake = {
      caller: { node: hello.node, instance: hello.instance },
      callerNonce: hello.nonce,
      callee,
      calleeNonce: nonce,
      address: hello.address,
    };
    const key = keys.find((candidate) => {
      const expected = proofOf(candidate, 'callee', handshake);
      return proofs.some((proof) => sameMac(proof, expected));
    });
    if (key) return { handshake, key };
    this.key.suspect();
    throw new PeerError('auth', 'The peer cannot prove that it belongs to this deployment.');
  }

  private post(
    address: HostPort,
    path: string,
    body: object,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    return this.transport.send(
      address,
      {
        lane: 'control',
        method: 'POST',
        path,
        headers: () => ({ 'content-type': 'application/json' }),
        body: JSON.stringify(body),
        headersTimeoutMs: HANDSHAKE_TIMEOUT_MS,
        bodyTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      },
      signal,
    );
  }

  private limited<T>(signal: AbortSignal, work: (limit: AbortSignal) => Promise<T>): Promise<T> {
    return withTimeout(
      HANDSHAKE_TIMEOUT_MS,
      () => new PeerError('timeout', 'The peer did not finish the handshake in time.'),
      work,
      signal,
    );
  }
}

/** 401 and 421 are about who we are to each other; everything else about its state. */
function refused(status: number): PeerError {
  const kind = status === 401 || status === 421 ? 'auth' : 'http';
  return new PeerError(kind, `The peer refused the handshake with status ${status}.`, { status });
}
