import { Server, ServerCredentials, type sendUnaryData } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';

const PROTO_DIRECTORY = new URL('../../src/runtime/containerd/protos', import.meta.url).pathname;
const CRI = ['k8s.io/cri-api/pkg/apis/runtime/v1/api.proto', 'runtime.v1.ImageService'] as const;
const IMAGES = [
  'github.com/containerd/containerd/api/services/images/v1/images.proto',
  'containerd.services.images.v1.Images',
] as const;
/** The calls that a list of images consists of. */
const CALLS = { ListImages: CRI, ImageFsInfo: CRI, List: IMAGES } as const;

type SpokenCall = keyof typeof CALLS;
/** By call; in the protocol's own names of fields. */
export type SpokenAnswers = Readonly<Record<SpokenCall, object>>;

/** Answers the calls of a list with whatever bytes a test wants, at a unix socket: no engine says what is tried here. */
export class FakeContainerd {
  answers: ReadonlyMap<SpokenCall, Buffer> = new Map();

  private constructor(
    readonly socketPath: string,
    private readonly server: Server,
    private readonly protocol: PackageDefinition,
  ) {}

  static async start(socketPath: string): Promise<FakeContainerd> {
    const protocol = loadSync([CRI[0], IMAGES[0]], { includeDirs: [PROTO_DIRECTORY], keepCase: true });
    const server = new Server();
    const engine = new FakeContainerd(socketPath, server, protocol);
    for (const call of spokenCalls()) {
      const handle = (_request: unknown, answer: sendUnaryData<Buffer>): void =>
        answer(null, engine.answers.get(call) ?? Buffer.alloc(0));
      const asIs = (bytes: Buffer): Buffer => bytes;
      server.register(engine.methodOf(call).path, handle, asIs, asIs, 'unary');
    }
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix://${socketPath}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    return engine;
  }

  encode(answers: SpokenAnswers): Map<SpokenCall, Buffer> {
    return new Map(spokenCalls().map((call) => [call, this.methodOf(call).responseSerialize(answers[call])]));
  }

  stop(): void {
    this.server.forceShutdown();
  }

  private methodOf(call: SpokenCall) {
    const service = this.protocol[CALLS[call][1]] as unknown as Readonly<Record<string, SpokenMethod>>;
    const method = service[call];
    if (!method) throw new Error(`the protocol has no ${call}`);
    return method;
  }
}

interface SpokenMethod {
  readonly path: string;
  readonly responseSerialize: (answer: object) => Buffer;
}

function spokenCalls(): SpokenCall[] {
  return Object.keys(CALLS) as SpokenCall[];
}
