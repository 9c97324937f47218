import { InvalidInputError } from '../../domain/errors.js';
import type { KubernetesClient } from '../../kubernetes/kubernetes-client.js';
import type { KeySecret, KeySecretStore } from './key-secret-store.js';
import { parseSecretValue } from './secret-value.js';

const PEER_KEY = 'peer-key';
const API_TOKEN = 'api-token';

/** `K8S_KEY_SECRET`: its keys are `peer-key` and `api-token`. */
export class KubernetesKeySecret implements KeySecretStore {
  constructor(
    private readonly client: Pick<KubernetesClient, 'readSecret' | 'createSecret'>,
    private readonly name: string,
  ) {}

  async read(signal: AbortSignal): Promise<KeySecret | undefined> {
    const data = await this.client.readSecret(this.name, signal);
    return (
      data && { peerKey: this.value(data, PEER_KEY), apiToken: this.value(data, API_TOKEN).toString('utf8') }
    );
  }

  async create({ peerKey, apiToken }: KeySecret, signal: AbortSignal): Promise<'created' | 'exists'> {
    const data = { [PEER_KEY]: peerKey, [API_TOKEN]: Buffer.from(apiToken) };
    return this.client.createSecret(this.name, data, signal);
  }

  private value(data: Readonly<Record<string, Buffer>>, key: string): Buffer {
    const content = data[key];
    const where = `${key} in Secret ${this.name}`;
    if (!content) throw new InvalidInputError('INVALID_SECRET', `${where} is missing`);
    return parseSecretValue(content, where);
  }
}
