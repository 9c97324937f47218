import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';

import { Controller, Get, Module, Param, Query, Req, Res } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import type { Request, Response } from 'express';

import { Access } from '../../src/common/access.decorator.js';
import type { AppConfig, HostPort } from '../../src/config/app-config.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { configureApp } from '../../src/configure-app.js';
import { type Digest, digestOf, parseDigest } from '../../src/domain/digest.js';
import { HttpModule } from '../../src/http/http.module.js';
import { MetricsModule } from '../../src/metrics/metrics.module.js';
import type { KeyMaterial, KeySource as KeySourcePort } from '../../src/peers/access/key-source.js';
import { KeySource } from '../../src/peers/access/key-source.js';
import { AgentIdentity } from '../../src/peers/agent-identity.js';
import type { BlobAvailability } from '../../src/peers/availability.js';
import { AvailabilityProvider } from '../../src/peers/availability-provider.js';
import { PeerApiModule } from '../../src/peers/peer-api.module.js';
import { PeerDiscovery } from '../../src/peers/peer-discovery.js';
import { PeerService } from '../../src/peers/peer.service.js';
import { type RuntimeHolding, RuntimeView } from '../../src/peers/runtime-view.js';
import { VirtualClock } from './virtual-clock.js';

export const PEER_KEY = randomBytes(32);
export const API_TOKEN = randomBytes(32).toString('hex');

/** What an agent under test has, and what it knows. Change it as it runs. */
class Holdings {
  readonly blobs = new Map<Digest, Buffer>();
  readonly images = new Set<string>();
  /** Sent instead of what `blobs` says, to play a peer that goes wrong. */
  blobResponse: ((request: Request, response: Response) => void) | undefined;
}

@Controller()
class BlobController {
  constructor(private readonly holdings: Holdings) {}

  @Access('peer-or-token')
  @Get('v2/preheat/blobs/:digest')
  blob(@Param('digest') digest: string, @Req() request: Request, @Res() response: Response): void {
    if (this.holdings.blobResponse) {
      this.holdings.blobResponse(request, response);
      return;
    }
    const bytes = this.holdings.blobs.get(parseDigest(digest));
    if (!bytes) {
      response.status(404).json({ statusCode: 404, code: 'BLOB_UNKNOWN', message: 'not here' });
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.status(start > 0 ? 206 : 200).set('content-length', String(bytes.length - start));
    if (start > 0) response.set('content-range', `bytes ${start}-${bytes.length - 1}/${bytes.length}`);
    response.end(request.method === 'HEAD' ? undefined : bytes.subarray(start));
  }

  @Access('peer-or-token')
  @Get('images/download')
  download(@Query('image') image: string, @Res() response: Response): void {
    if (this.holdings.images.has(image)) Readable.from([Buffer.from(`tar of ${image}`)]).pipe(response);
    else response.status(404).json({ statusCode: 404, code: 'IMAGE_NOT_FOUND', message: 'not here' });
  }

  @Get('forgotten')
  forgotten(): string {
    return 'nobody declared who may read this';
  }

  @Access('token')
  @Get('token')
  token(): string {
    return 'ok';
  }

  @Access('read')
  @Get('state')
  state(): string {
    return 'ok';
  }

  @Access('public')
  @Get('open')
  open(): string {
    return 'ok';
  }
}

@Module({
  providers: [
    Holdings,
    {
      provide: AvailabilityProvider,
      inject: [Holdings],
      useFactory: ({ blobs }: Holdings): AvailabilityProvider => ({
        describe: (digests) => {
          const found = digests.flatMap((digest): [Digest, BlobAvailability][] => {
            const bytes = blobs.get(digest);
            return bytes ? [[digest, { size: bytes.length, complete: true }]] : [];
          });
          return Promise.resolve({ blobs: new Map(found), participants: [] });
        },
      }),
    },
    {
      provide: RuntimeView,
      inject: [Holdings],
      useFactory: ({ images }: Holdings): RuntimeView => ({
        present: (asked) => {
          const holding: RuntimeHolding = { config: digestOf(Buffer.from('config')) };
          return Promise.resolve(
            new Map(asked.filter((image) => images.has(image)).map((image) => [image, holding])),
          );
        },
      }),
    },
  ],
  exports: [Holdings, AvailabilityProvider, RuntimeView],
})
class HoldingsModule {}

@Module({ imports: [HoldingsModule], controllers: [BlobController] })
class BlobModule {}

export interface PeerAgentOptions {
  readonly node?: string;
  readonly host?: string;
  readonly port?: number;
  readonly key?: Buffer | undefined;
  readonly peerAuth?: 'key' | 'none';
  readonly readAuth?: boolean;
  /** An agent of an earlier version: no availability, no runtime. */
  readonly plain?: boolean;
}

/** A Nest application with the peers' part of an agent, really listening; its data plane is a map of blobs. */
export class PeerAgent {
  /** What its discovery finds. */
  readonly known: HostPort[];
  readonly secrets: { material: KeyMaterial };

  private constructor(
    private readonly app: NestExpressApplication,
    readonly address: HostPort,
    secrets: { material: KeyMaterial },
    known: HostPort[],
    /** Its time stands still until it is told to pass. */
    readonly clock: VirtualClock,
  ) {
    this.secrets = secrets;
    this.known = known;
  }

  static async start(options: PeerAgentOptions = {}): Promise<PeerAgent> {
    const { host = '127.0.0.1', key = PEER_KEY, plain = false } = options;
    const secrets = { material: { peerKey: key, apiToken: API_TOKEN } satisfies KeyMaterial };
    const known: HostPort[] = [];
    const clock = new VirtualClock();
    const keySource: KeySourcePort = {
      pollIntervalMs: 3_600_000,
      load: () => Promise.resolve(secrets.material),
    };
    const discovery: PeerDiscovery = { list: () => Promise.resolve([...known]) };
    const testing = await Test.createTestingModule({
      imports: [
        ConfigModule.forRoot(configOf(options), clock),
        HttpModule,
        MetricsModule,
        PeerApiModule.answeredBy([HoldingsModule]),
        BlobModule,
      ],
    })
      .overrideProvider(KeySource)
      .useValue(keySource)
      .overrideProvider(PeerDiscovery)
      .useValue(discovery)
      .compile();
    const app = testing.createNestApplication<NestExpressApplication>({ bodyParser: false });
    app.useLogger(false);
    configureApp(app);
    if (plain) app.use(/^\/peer\/v1\/(availability|runtime)/, notFound);
    await app.listen(options.port ?? 0, host);
    const { port } = app.getHttpServer().address() as AddressInfo;
    return new PeerAgent(app, { host, port }, secrets, known, clock);
  }

  get service(): PeerService {
    return this.app.get(PeerService);
  }

  get identity(): AgentIdentity {
    return this.app.get(AgentIdentity);
  }

  get holdings(): Holdings {
    return this.app.get(Holdings);
  }

  get url(): string {
    const { host, port } = this.address;
    return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  get<T>(type: abstract new (...args: never[]) => T): T {
    return this.app.get<T>(type);
  }

  /** Knows `others` from now on, and has met them. */
  async meet(...others: readonly PeerAgent[]): Promise<void> {
    this.known.push(...others.map(({ address }) => address));
    await this.service.refresh(new AbortController().signal);
  }

  addBlob(content: string): Digest {
    const bytes = Buffer.from(content);
    this.holdings.blobs.set(digestOf(bytes), bytes);
    return digestOf(bytes);
  }

  async stop(): Promise<void> {
    this.app.getHttpServer().closeAllConnections();
    await this.app.close();
  }
}

function notFound(_request: Request, response: Response): void {
  response.status(404).end();
}

/** The part of the configuration that peers read. */
function configOf({
  node = 'node-1',
  peerAuth = 'key',
  readAuth = false,
  port = 0,
}: PeerAgentOptions): AppConfig {
  return {
    inCluster: false,
    nodeName: node,
    platform: { os: 'linux', architecture: 'amd64' },
    port,
    pullingTimeoutMs: 10_000,
    store: { directory: '/nonexistent', minFree: { bytes: 0 } },
    limits: { apiRequestsPerSecond: 0 },
    kubernetes: { namespace: 'default', lockConfigMap: 'lock', keySecret: 'key' },
    peers: { discovery: 'static', serviceName: 'peers', static: [], intervalMs: 3_600_000 },
    access: { peerAuth, readAuth, allowedRegistries: [] },
  } as unknown as AppConfig;
}
