import { hkdfSync, randomBytes } from 'node:crypto';

import type { HostPort } from '../../src/config/app-config.js';
import { formatAddress } from '../../src/peers/peer-address.js';
import type { PeerIdentity } from '../../src/peers/peer-identity.js';
import { formatAuthorization } from '../../src/peers/session/authorization-header.js';
import {
  proofOf,
  requestMac,
  type SessionKeys,
  sessionKeysOf,
} from '../../src/peers/session/handshake-proof.js';
import { helloAnswerSchema, PROOF_PATH, SESSION_PATH } from '../../src/peers/session/session-wire.js';
import { type RawAnswer, rawRequest } from './raw-http.js';

export interface ClientIdentity {
  readonly node: string;
  readonly instance: string;
}

export function newIdentity(node: string): ClientIdentity {
  return { node, instance: randomBytes(16).toString('hex') };
}

/** What agents make of the peer key for one use: `peer session` proves handshakes, `records` seals records. */
export function keyFor(purpose: 'peer session' | 'records', peerKey: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', peerKey, '', `image-preheat ${purpose}`, 32));
}

/** The caller's side of a session, one step at a time, so that a test may go wrong at each. */
export class SessionClient {
  private counter = 0;

  private constructor(
    readonly keys: SessionKeys,
    readonly callee: PeerIdentity,
  ) {}

  /** Meets the agent at `address`. Throws when it does not let us in. */
  static async meet(
    address: HostPort,
    key: Buffer,
    caller: ClientIdentity = newIdentity('client'),
  ): Promise<SessionClient> {
    const dialled = formatAddress(address);
    const callerNonce = randomBytes(32).toString('base64url');
    const hello = await post(dialled, SESSION_PATH, {
      protocol: 1,
      ...caller,
      nonce: callerNonce,
      address: dialled,
    });
    const { nonce: calleeNonce = '', proofs = [], ...callee } = helloAnswerSchema.parse(hello.body);
    const handshake = { caller, callerNonce, callee, calleeNonce, address: dialled };
    if (!proofs.includes(proofOf(key, 'callee', handshake))) throw new Error('it has another key');
    const answer = await post(dialled, PROOF_PATH, {
      nonce: calleeNonce,
      proof: proofOf(key, 'caller', handshake),
    });
    if (answer.status !== 204) throw new Error(`the proof was answered with ${answer.status}`);
    return new SessionClient(sessionKeysOf(key, handshake), callee);
  }

  /** The `Authorization` of one request, good once. */
  sign(method: string, path: string, range?: string): string {
    this.counter += 1;
    const mac = requestMac(this.keys.secret, { method, path, range, counter: this.counter });
    return formatAuthorization({ session: this.keys.id, counter: this.counter, mac });
  }
}

function post(address: string, path: string, body: object): Promise<RawAnswer> {
  return rawRequest(`http://${address}${path}`, { body });
}
