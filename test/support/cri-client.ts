import { resolve } from 'node:path';

import { type ServiceClientConstructor, credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** Below the working directory, as the built agent is: the benchmarks run what was compiled elsewhere. */
const PROTOS = resolve('src/runtime/containerd/protos');

export interface CriImageStatus {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly pinned: boolean;
}

/** What kubelet would do and see, asked past the code under test. */
export class CriClient {
  private readonly client: InstanceType<ServiceClientConstructor>;

  constructor(socketPath: string) {
    const definition = loadSync('k8s.io/cri-api/pkg/apis/runtime/v1/api.proto', {
      includeDirs: [PROTOS],
      defaults: true,
    });
    const { runtime } = loadPackageDefinition(definition) as unknown as {
      runtime: { v1: { ImageService: ServiceClientConstructor } };
    };
    this.client = new runtime.v1.ImageService(`unix://${socketPath}`, credentials.createInsecure(), {
      'grpc.max_reconnect_backoff_ms': 500,
    });
  }

  async images(): Promise<readonly CriImageStatus[]> {
    return (await this.call<{ images: CriImageStatus[] }>('ListImages', {})).images;
  }

  /** All tags and digests that kubelet sees, sorted. */
  async names(): Promise<readonly string[]> {
    return (await this.images()).flatMap(({ repoTags, repoDigests }) => [...repoTags, ...repoDigests]).sort();
  }

  async status(image: string): Promise<CriImageStatus | undefined> {
    const answer = await this.call<{ image: CriImageStatus | null }>('ImageStatus', { image: { image } });
    return answer.image ?? undefined;
  }

  /** @returns the image's id */
  async pull(image: string): Promise<string> {
    return (await this.call<{ imageRef: string }>('PullImage', { image: { image } })).imageRef;
  }

  /** As kubelet's garbage collection does it: the image loses all its names. */
  async remove(image: string): Promise<void> {
    await this.call('RemoveImage', { image: { image } });
  }

  close(): void {
    this.client.close();
  }

  private call<T>(method: string, request: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = this.client[method] as unknown as (
        request: object,
        done: (error: Error | null, answer: T) => void,
      ) => void;
      run.call(this.client, request, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }
}
