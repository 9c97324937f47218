import { randomBytes } from 'node:crypto';

import { PreheatFailure } from '../../domain/errors.js';
import type { KeySecret, KeySecretStore } from './key-secret-store.js';
import type { KeyMaterial, KeySource } from './key-source.js';

const SECRET_BYTES = 32;

/** The Secret of the deployment; whoever finds none makes it. To rotate the key, change the Secret or delete it. */
export class SecretKeySource implements KeySource {
  /** One `get` per agent: 1,000 agents make 3.3 requests/s. A handshake that fails looks at once (`ClusterKey.suspect`). */
  readonly pollIntervalMs = 300_000;

  constructor(private readonly secrets: KeySecretStore) {}

  async load(signal: AbortSignal): Promise<KeyMaterial> {
    const existing = await this.secrets.read(signal);
    if (existing) return existing;
    const made: KeySecret = {
      peerKey: randomBytes(SECRET_BYTES),
      apiToken: randomBytes(SECRET_BYTES).toString('base64url'),
    };
    if ((await this.secrets.create(made, signal)) === 'created') return made;
    const others = await this.secrets.read(signal);
    if (others) return others;
    throw new PreheatFailure(
      'lock_unavailable',
      'the Secret of the deployment was removed while it was read',
    );
  }
}
