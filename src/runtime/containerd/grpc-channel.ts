import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { load, type PackageDefinition } from '@grpc/proto-loader';

const PROTO_DIRECTORY = `${import.meta.dirname}/protos`;
const CONTAINERD_API = 'github.com/containerd/containerd/api/services';
const PROTO_FILES = [
  'k8s.io/cri-api/pkg/apis/runtime/v1/api.proto',
  `${CONTAINERD_API}/images/v1/images.proto`,
  `${CONTAINERD_API}/content/v1/content.proto`,
  `${CONTAINERD_API}/snapshots/v1/snapshots.proto`,
];
/** containerd's own bound: its answers are no larger. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** What a read of content may have in flight; HTTP/2's 64 KiB would be the bottleneck of an export. */
const WINDOW_BYTES = 1024 * 1024;

const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc-node.flow_control_window': WINDOW_BYTES,
  // A containerd that is back is found at once; by default the pauses grow to two minutes.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.enable_http_proxy': 0,
};

export interface GrpcCall {
  /** As the protocol names it: `runtime.v1.ImageService`. */
  readonly service: string;
  readonly method: string;
  readonly request: object;
}

/**
 * gRPC calls over one unix socket, in one namespace of containerd. Answers come as plain objects with every field
 * present, 64-bit numbers as text; they are for the caller to check.
 */
export class GrpcChannel {
  private readonly metadata = new Metadata();
  private client: Client | undefined;
  private definition: Promise<PackageDefinition> | undefined;

  /** @param socketPath absolute */
  constructor(
    readonly socketPath: string,
    namespace: string,
  ) {
    this.metadata.set('containerd-namespace', namespace);
  }

  /** One answer. @throws what grpc-js rejects with, see containerd-error; the signal's reason when it aborts */
  async unary(call: GrpcCall, signal: AbortSignal): Promise<unknown> {
    const { path, requestSerialize, responseDeserialize } = await this.method(call);
    const client = this.connect();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    signal.throwIfAborted();
    const sent = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      call.request,
      this.metadata,
      (error, answer) => (error ? reject(error) : resolve(answer)),
    );
    const cancel = (): void => {
      reject(signal.reason as Error);
      sent.cancel();
    };
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /** Many answers, taken as fast as they are asked for; leaving the loop ends the call. Throws as `unary`. */
  async *stream(call: GrpcCall, signal: AbortSignal): AsyncGenerator<unknown, void> {
    const { path, requestSerialize, responseDeserialize } = await this.method(call);
    const client = this.connect();
    signal.throwIfAborted();
    const answers = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      call.request,
      this.metadata,
    );
    // The last one, of its own cancelling, comes when nobody iterates any more.
    answers.on('error', () => undefined);
    const cancel = (): void => answers.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      for await (const answer of answers) yield answer;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
      answers.cancel();
    }
  }

  private connect(): Client {
    // A channel waits for nobody: calls fail at once while nothing answers at the socket.
    this.client ??= new Client(`unix://${this.socketPath}`, credentials.createInsecure(), CHANNEL_OPTIONS);
    return this.client;
  }

  private async method({ service, method }: GrpcCall): Promise<Method> {
    this.definition ??= load(PROTO_FILES, {
      includeDirs: [PROTO_DIRECTORY],
      longs: String,
      enums: String,
      defaults: true,
    });
    const found = (await this.definition)[service];
    const definition = found && (found as Readonly<Record<string, unknown>>)[method];
    if (!isMethod(definition)) throw new Error(`the protocol has no ${service}.${method}`);
    return definition;
  }
}

interface Method {
  readonly path: string;
  readonly requestSerialize: (request: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => object;
}

function isMethod(value: unknown): value is Method {
  return typeof value === 'object' && value !== null && 'requestSerialize' in value && 'path' in value;
}
