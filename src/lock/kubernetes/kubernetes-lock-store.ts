import { messageOf, PreheatFailure } from '../../domain/errors.js';
import type { KubernetesClient, PatchOperation } from '../../kubernetes/kubernetes-client.js';
import { KubernetesError } from '../../kubernetes/kubernetes-error.js';
import { isRecordKey } from '../image-key.js';
import type { Consistency, LockStore } from '../lock-store.js';

/** What the API server takes in one ConfigMap: the sum of its values. Bytes. */
const MAX_DATA_BYTES = 1024 * 1024;
const MAX_CONFLICTS = 3;

/**
 * Records as keys of one ConfigMap, swapped by JSON Patch: a `test` of the one key's old value, so writers of different
 * keys never conflict. The ConfigMap must exist with at least one permanent key, since an empty `data` is not stored.
 */
export class KubernetesLockStore implements LockStore {
  constructor(
    private readonly client: KubernetesClient,
    private readonly configMap: string,
  ) {}

  async read(consistency: Consistency, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const data = await this.readData(consistency, signal);
    return new Map(Object.entries(data).filter(([key]) => isRecordKey(key)));
  }

  async compareAndSwap(
    key: string,
    expected: string | undefined,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (expected === undefined && next === undefined) {
      return !Object.hasOwn(await this.readData('latest', signal), key);
    }
    const operations = swapOperations(`/data/${key}`, expected, next);
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      try {
        await this.client.patchConfigMap(this.configMap, operations, signal);
        return true;
      } catch (error) {
        const status = error instanceof KubernetesError ? error.status : undefined;
        if (status !== 409 && status !== 413 && status !== 422) throw this.unavailable(error, signal);
        const data = await this.readData('latest', signal);
        if (data[key] !== expected) return false;
        // 409: the server itself lost a race against writers of other keys too often. Ours is still to be had.
        if (status !== 409) throw this.refused(data, key, next, error);
      }
    }
    throw new PreheatFailure(
      'lock_unavailable',
      `ConfigMap ${this.configMap} is changed too often to be written`,
    );
  }

  /** The key is as it should be, and yet the patch was refused: there is no room, or something is wrong with the ConfigMap. */
  private refused(
    data: Readonly<Record<string, string>>,
    key: string,
    next: string | undefined,
    cause: unknown,
  ): PreheatFailure {
    let sizeBytes = Buffer.byteLength(next ?? '');
    for (const [other, value] of Object.entries(data))
      if (other !== key) sizeBytes += Buffer.byteLength(value);
    if (sizeBytes > MAX_DATA_BYTES)
      return new PreheatFailure('lock_full', `ConfigMap ${this.configMap} is full: 1 MiB of records`, {
        cause,
      });
    const why =
      Object.keys(data).length === 0
        ? 'its data is empty: it must be shipped with the key v'
        : `${messageOf(cause)}; it may be immutable, or changed by an admission rule`;
    return new PreheatFailure('lock_unavailable', `ConfigMap ${this.configMap} cannot be written: ${why}`, {
      cause,
    });
  }

  private async readData(
    consistency: Consistency,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, string>>> {
    let data: Readonly<Record<string, string>> | undefined;
    try {
      data = await this.client.readConfigMap(this.configMap, consistency === 'any', signal);
    } catch (error) {
      throw this.unavailable(error, signal);
    }
    if (!data) throw new PreheatFailure('lock_unavailable', `there is no ConfigMap ${this.configMap}`);
    return data;
  }

  private unavailable(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    const told = error instanceof KubernetesError ? error.message : 'the Kubernetes API cannot be asked';
    return new PreheatFailure('lock_unavailable', `ConfigMap ${this.configMap}: ${told}`, { cause: error });
  }
}

function swapOperations(
  path: string,
  expected: string | undefined,
  next: string | undefined,
): PatchOperation[] {
  const test: PatchOperation = { op: 'test', path, value: expected ?? null };
  if (next === undefined) return [test, { op: 'remove', path }];
  return [test, { op: expected === undefined ? 'add' : 'replace', path, value: next }];
}
