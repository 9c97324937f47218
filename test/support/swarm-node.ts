import { rm } from 'node:fs/promises';

import type { AppConfig, HostPort } from '../../src/config/app-config.js';
import { AppError, messageOf } from '../../src/domain/errors.js';
import { parseImageReference } from '../../src/domain/image-reference.js';
import { parsePlatform } from '../../src/domain/platform.js';
import type { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { AgentIdentity } from '../../src/peers/agent-identity.js';
import type { AvailabilityClient } from '../../src/peers/client/availability-client.js';
import type { OutgoingSessions } from '../../src/peers/client/outgoing-sessions.js';
import type { PeerClient } from '../../src/peers/client/peer-client.js';
import { PeerDirectory } from '../../src/peers/peer-directory.js';
import type { Peer } from '../../src/peers/peer-identity.js';
import type { PeerProbe } from '../../src/peers/peer-probe.js';
import { PeerService } from '../../src/peers/peer.service.js';
import { SwarmSource } from '../../src/peers/swarm/swarm-source.js';
import type { RegistryClient } from '../../src/registry/registry-client.js';
import type { ArchiveIndex } from '../../src/transfer/archive/archive-index.js';
import { AvailabilityService } from '../../src/transfer/availability.service.js';
import { BlobDownloader } from '../../src/transfer/blob-downloader.js';
import type { BlobSource } from '../../src/transfer/blob-source.js';
import { Downlink } from '../../src/transfer/downlink.js';
import { Flights } from '../../src/transfer/flights.js';
import { OriginClaims } from '../../src/transfer/origin-claims.js';
import { PeerSweep } from '../../src/transfer/peer-sweep.js';
import type { RuntimeExports } from '../../src/transfer/runtime-exports.js';
import type { SessionParts } from '../../src/transfer/session-parts.js';
import { ChunkFetcher } from '../../src/transfer/swarm/chunk-fetcher.js';
import { TransferSession } from '../../src/transfer/transfer-session.js';
import { crashImageOf } from './crash-image.js';
import type { Character } from './swarm-faults.js';
import type { SwarmImage } from './swarm-images.js';
import { SwarmLink } from './swarm-network.js';
import type { SwarmWorld } from './swarm-world.js';
import { TemporaryStore } from './temporary-store.js';

/** As `ImagePreheater` and the peers' refresh wait, milliseconds. */
const WAIT_MS = 350;
const LOCK_POLL_MS = 1000;
const FAILURE_PAUSE_MS = 1000;
const MEET_MS = 250;

const NO_ARCHIVES: BlobSource = {
  kind: 'archive',
  name: 'none',
  has: () => Promise.resolve(false),
  open: () => Promise.reject(new Error('there is no archive')),
};
const NO_METRICS = {
  peers: () => undefined,
  forgetPeer: () => undefined,
  peerFetchFailed: () => undefined,
} as unknown as PreheatMetrics;

export interface SwarmNodeOptions {
  readonly name: string;
  readonly address: HostPort;
  readonly character: Character;
  /** Bytes of an image have arrived. */
  readonly onBytes: (node: SwarmNode, image: string, bytes: number) => void;
  /** What a killed one has left; an empty store without it. */
  readonly directory?: string;
}

/** Remembers whom a node does not ask any more. */
class WatchedPeers extends PeerService {
  readonly avoided = new Set<string>();

  override quarantine(peer: Peer, image: string): void {
    this.avoided.add(peer.instance);
    super.quarantine(peer, image);
  }
}

/** One agent's data plane: everything real but the network, the registry, the lock and the runtime. */
export class SwarmNode {
  readonly identity: AgentIdentity;
  /** Names of the images that are complete in the store. */
  readonly complete = new Set<string>();
  /** Errors that are none of ours: nothing that goes wrong outside may lead to one. */
  readonly surprises: unknown[] = [];
  /** For those who have to find out why it did not become complete. */
  lastStep = 'has not begun';
  private readonly life = new AbortController();
  private readonly peers: WatchedPeers;
  private readonly directory: PeerDirectory;
  private readonly parts: SessionParts;
  private work: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly options: SwarmNodeOptions,
    private readonly world: SwarmWorld,
    readonly files: TemporaryStore,
  ) {
    const { name, address, character } = options;
    const { network, clock, addresses } = world;
    this.identity = new AgentIdentity({ nodeName: name, platform: parsePlatform('linux/amd64') });
    const link = new SwarmLink(network, this.identity);
    const discovery = { list: () => Promise.resolve(addresses) };
    this.directory = new PeerDirectory(
      discovery,
      link as unknown as OutgoingSessions,
      NO_METRICS,
      clock,
      this.identity,
    );
    const client = link as unknown as AvailabilityClient & PeerClient;
    this.peers = new WatchedPeers(this.directory, client, client, undefined as unknown as PeerProbe);
    this.parts = this.partsOf();
    const { store, catalog, space, claims, relays } = this.parts;
    network.attach(address, {
      identity: this.identity,
      character,
      life: this.life.signal,
      store,
      swarm: this.parts.relays as SwarmSource,
      availability: new AvailabilityService(store, catalog, space, claims, relays as SwarmSource, this.peers),
    });
  }

  static async start(options: SwarmNodeOptions, world: SwarmWorld): Promise<SwarmNode> {
    const { directory } = options;
    return new SwarmNode(
      options,
      world,
      await TemporaryStore.open(directory === undefined ? {} : { directory }),
    );
  }

  get isAlive(): boolean {
    return !this.life.signal.aborted;
  }

  get isHonest(): boolean {
    return this.options.character === 'honest';
  }

  get isComplete(): boolean {
    return this.world.images.every(({ name }) => this.complete.has(name));
  }

  /** Instances that it does not ask any more for some image. */
  get quarantined(): ReadonlySet<string> {
    return this.peers.avoided;
  }

  /** Puts all of `image` into the store, as an earlier run left it. */
  async fill({ root, manifest, blobs }: SwarmImage): Promise<void> {
    for (const [digest, bytes] of [[root, manifest] as const, ...blobs])
      await this.files.store.putBytes(digest, bytes);
  }

  /** Sets about all images, after a while. */
  begin(delayMs: number): void {
    const { signal } = this.life;
    const brought = this.world.images.map(async (image) => {
      await this.world.clock.sleep(delayMs, signal);
      await this.directory.refresh(signal);
      await this.bring(image, signal);
    });
    this.work = Promise.allSettled([...brought, this.meet(signal)]);
  }

  /**
   * Kills it in the middle of whatever it does.
   * @returns a copy of what is on its disk at this moment; nothing that it goes on to do reaches that one
   */
  kill(): string {
    const left = crashImageOf(this.files.directory);
    this.life.abort(new Error(`${this.options.name} was killed`));
    return left;
  }

  /** Ends it, if it has not been killed, and waits until nothing of it is under way. */
  async end(): Promise<void> {
    this.life.abort(new Error('the run is over'));
    this.directory.onModuleDestroy();
    await this.work;
  }

  async dispose(): Promise<void> {
    await this.end();
    await this.files.dispose();
    // One that was given a directory did not make it.
    await rm(this.files.directory, { recursive: true, force: true });
  }

  /** As an agent does it: from peers as long as they have or promise something, with the lock when they do not. */
  private async bring(image: SwarmImage, signal: AbortSignal): Promise<void> {
    const session = this.sessionOf(image);
    try {
      while (!this.complete.has(image.name)) {
        signal.throwIfAborted();
        try {
          await this.attempt(session, image, signal);
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof AppError)) this.surprises.push(error);
          this.lastStep = `last failed with: ${messageOf(error)}`;
          await this.world.clock.sleep(FAILURE_PAUSE_MS, signal);
        }
      }
    } finally {
      session.release();
    }
  }

  private async attempt(session: TransferSession, { name }: SwarmImage, signal: AbortSignal): Promise<void> {
    const { lock, clock } = this.world;
    const holderInstance = lock.holderOf(name);
    this.lastStep = 'last asked its peers';
    const { kind } = await session.attempt(holderInstance === undefined ? {} : { holderInstance }, signal);
    if (kind === 'complete') this.complete.add(name);
    else if (kind === 'waiting') await clock.sleep(WAIT_MS, signal);
    else {
      this.lastStep = 'last tried for the lock';
      const work = lock.with(name, this.identity.instance, signal, (lease) =>
        session.attempt({ lease }, signal),
      );
      const outcome = await work;
      if (outcome?.kind === 'complete') this.complete.add(name);
      else if (!outcome) await clock.sleep(LOCK_POLL_MS, signal);
    }
  }

  private async meet(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.directory.meetNew(signal);
      await this.world.clock.sleep(MEET_MS, signal);
    }
  }

  private sessionOf({ name, root }: SwarmImage): TransferSession {
    return new TransferSession(
      {
        image: name,
        reference: parseImageReference(name),
        platform: parsePlatform('linux/amd64'),
        native: true,
        digest: root,
        identifiesBy: 'manifest',
        isLoaded: () => false,
        claimKey: `${name} ${this.options.name}`.slice(-64),
      },
      this.parts,
      { onBytes: (count) => this.options.onBytes(this, name, count), onAlive: () => undefined },
    );
  }

  private partsOf(): SessionParts {
    const { clock, registry } = this.world;
    const { store, catalog, space } = this.files;
    const { peers } = this;
    const unlimited = { limits: { receiveRateBytesPerSecond: 0 } } as AppConfig;
    const downlink = new Downlink(unlimited, clock);
    const archiveIndex = {
      reportStale: () => Promise.resolve(),
      findByConfig: () => Promise.resolve(undefined),
    } as unknown as ArchiveIndex;
    return {
      self: this.identity,
      clock,
      metrics: NO_METRICS,
      peers,
      relays: new SwarmSource(clock),
      registry: registry as unknown as RegistryClient,
      store,
      catalog,
      space,
      archiveIndex,
      archives: NO_ARCHIVES,
      downloader: new BlobDownloader(downlink, store),
      fetcher: new ChunkFetcher(peers, downlink),
      downlink,
      flights: new Flights(),
      claims: new OriginClaims(),
      sweep: new PeerSweep(peers),
      exports: { fetch: () => Promise.resolve(undefined) } as unknown as RuntimeExports,
    };
  }
}
