import { z } from 'zod';

import { listOf } from '../../domain/bounded-schema.js';
import { INSTANCE, NODE_NAME, type PeerIdentity } from '../peer-identity.js';

export const SESSION_PATH = '/peer/v1/session';
export const PROOF_PATH = '/peer/v1/session/proof';

/** Keys derived for this use prove handshakes. */
export const SESSION_KEY_PURPOSE = 'peer session';

/** base64url of 32 bytes: nonces and proofs. */
export const TOKEN_256 = /^[\w-]{43}$/;

/** A session is forgotten by the callee after this, and renewed by the caller a minute before. */
export const SESSION_LIFETIME_MS = 600_000;

/** What the caller says first: who it is, its nonce, and the `ip:port` it dialled. */
export interface Hello {
  readonly protocol: number;
  readonly node: string;
  readonly instance: string;
  readonly nonce: string;
  readonly address: string;
}

/** Who answers; with `PEER_AUTH=key` its nonce and its proofs, one for each key it accepts (two while a key changes). */
export interface HelloAnswer extends PeerIdentity {
  readonly nonce?: string | undefined;
  readonly proofs?: readonly string[] | undefined;
}

/** The caller's proof for the handshake that the callee's nonce names. */
export interface Proof {
  readonly nonce: string;
  readonly proof: string;
}

/** A `HelloAnswer` as it arrives; fields of later versions are ignored. */
export const helloAnswerSchema = z.object({
  node: z.string().regex(NODE_NAME),
  instance: z.string().regex(INSTANCE),
  platform: z.string().max(100),
  protocol: z.int().min(1),
  nonce: z.string().regex(TOKEN_256).optional(),
  proofs: listOf(z.string().regex(TOKEN_256), 4).optional(),
});
