import { randomBytes } from 'node:crypto';

import { PreheatFailure } from '../../domain/errors.js';
import type { KeptKey } from './kept-key.js';
import type { KeySecret, KeySecretStore } from './key-secret-store.js';
import type { KeyMaterial, KeySource } from './key-source.js';

const SECRET_BYTES = 32;
const LINE_FEED = 0x0a;

/** The Secret of the deployment; whoever finds none makes it. To rotate the key, change the Secret or delete it. */
export class SecretKeySource implements KeySource {
  /** One `get` per agent: 1,000 agents make 3.3 requests/s. A handshake that fails looks at once (`ClusterKey.suspect`). */
  readonly pollIntervalMs = 300_000;

  constructor(
    private readonly secrets: KeySecretStore,
    private readonly kept: KeptKey,
    private readonly random: (sizeBytes: number) => Buffer = randomBytes,
  ) {}

  async load(signal: AbortSignal): Promise<KeyMaterial> {
    const secret = await this.readOrMake(signal);
    await this.kept.save(secret.peerKey);
    return secret;
  }

  /** @returns no API token: see `KeptKey` */
  async recall(): Promise<KeyMaterial> {
    const peerKey = await this.kept.load();
    return peerKey && peerKey.length >= SECRET_BYTES ? { peerKey } : {};
  }

  private async readOrMake(signal: AbortSignal): Promise<KeySecret> {
    const existing = await this.secrets.read(signal);
    if (existing) return existing;
    const made: KeySecret = {
      peerKey: this.newPeerKey(),
      apiToken: this.random(SECRET_BYTES).toString('base64url'),
    };
    if ((await this.secrets.create(made, signal)) === 'created') return made;
    const others = await this.secrets.read(signal);
    if (others) return others;
    throw new PreheatFailure(
      'lock_unavailable',
      'the Secret of the deployment was removed while it was read',
    );
  }

  /** One that ends with a line break would be read back without it, as if an editor had put it there, and be too short. */
  private newPeerKey(): Buffer {
    for (;;) {
      const key = this.random(SECRET_BYTES);
      if (key.at(-1) !== LINE_FEED) return key;
    }
  }
}
