import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';

import type { PeerIdentity } from '../peer-identity.js';

/** Everything both sides of a handshake must agree on. Nonces are base64url of 32 random bytes. */
export interface Handshake {
  readonly caller: Pick<PeerIdentity, 'node' | 'instance'>;
  readonly callerNonce: string;
  readonly callee: PeerIdentity;
  readonly calleeNonce: string;
  /**
   * `ip:port` that the caller dialled, in canonical form. The callee proves only for the address its own socket has,
   * so whoever relays a handshake between two agents relays a proof for the wrong address.
   */
  readonly address: string;
}

/** What both sides have after a handshake and nobody else: it never travels. */
export interface SessionKeys {
  /** Names the session in requests; no secret. */
  readonly id: string;
  /** In the form in which a MAC costs a sixth of what it does with the same bytes. */
  readonly secret: KeyObject;
}

/** What the MAC of one request covers. */
export interface SignedRequest {
  readonly method: string;
  /** Path with query, exactly as it stands in the request line. */
  readonly path: string;
  /** The `Range` header; none is the same as an empty one. */
  readonly range: string | undefined;
  readonly counter: number;
}

/**
 * Proof that `role` has the key. The roles' proofs differ, so that none can be sent back to the one who made it.
 * @returns base64url of an HMAC-SHA256
 */
export function proofOf(key: Buffer, role: 'caller' | 'callee', handshake: Handshake): string {
  return mac(key, ['preheat/1 proof', role, ...fieldsOf(handshake)]).toString('base64url');
}

export function sessionKeysOf(key: Buffer, handshake: Handshake): SessionKeys {
  const fields = fieldsOf(handshake);
  return {
    id: mac(key, ['preheat/1 session id', ...fields])
      .subarray(0, 16)
      .toString('base64url'),
    secret: createSecretKey(mac(key, ['preheat/1 session secret', ...fields])),
  };
}

/** @returns base64url of an HMAC-SHA256 */
export function requestMac(secret: KeyObject, { method, path, range, counter }: SignedRequest): string {
  return mac(secret, ['preheat/1 request', method, path, range ?? '', String(counter)]).toString('base64url');
}

/** Compares two MACs in constant time. */
export function sameMac(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function fieldsOf({ caller, callerNonce, callee, calleeNonce, address }: Handshake): string[] {
  return [
    callerNonce,
    calleeNonce,
    caller.node,
    callee.node,
    caller.instance,
    callee.instance,
    callee.platform,
    String(callee.protocol),
    address,
  ];
}

/** JSON keeps the fields apart: no two lists of strings have the same text. */
function mac(key: Buffer | KeyObject, fields: readonly string[]): Buffer {
  return createHmac('sha256', key).update(JSON.stringify(fields)).digest();
}
