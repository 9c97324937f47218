import type { Clock } from '../../src/common/clock.js';
import type { Digest } from '../../src/domain/digest.js';
import type { LockStore } from '../../src/lock/lock-store.js';
import type { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import type { PeerService } from '../../src/peers/peer.service.js';
import { DigestResolver } from '../../src/preheat/digest-resolver.js';
import { HolderRun } from '../../src/preheat/holder-run.js';
import type { ImageLoader } from '../../src/preheat/image-loader.js';
import { ImagePreheater } from '../../src/preheat/image.preheater.js';
import type { ImageSession } from '../../src/preheat/image-session.js';
import { Slots } from '../../src/preheat/slots.js';
import { StatusStore } from '../../src/preheat/status.store.js';
import type { WantedImage } from '../../src/preheat/wanted-image.js';
import type { RegistryClient } from '../../src/registry/registry-client.js';
import type { ArchiveIndex } from '../../src/transfer/archive/archive-index.js';
import type { TransferOutcome } from '../../src/transfer/transfer-request.js';
import { LockNode } from './lock-node.js';

/** What surrounds the nodes of a test: each entry is what one call to it comes to. */
export interface Surroundings {
  /** What the registry says a tag means. */
  resolve(node: string): Promise<Digest>;
  /** An attempt of a node at the blobs of `digest`. */
  bring(digest: Digest, isHolder: boolean, node: string): Promise<TransferOutcome>;
  /** What an archive of the node says a tag means. */
  archived?(node: string): Digest | undefined;
}

export interface PreheatNodeOptions {
  readonly store: LockStore;
  readonly clock: Clock;
  readonly node: string;
  readonly surroundings: Surroundings;
  readonly nodes?: () => readonly string[];
  readonly tagTtlMs?: number;
  readonly preheatConcurrency?: number;
}

/** What decides about images on one node, with real locks, put together by hand; bytes are the surroundings' business. */
export class PreheatNode {
  readonly lock: LockNode;
  readonly status: StatusStore;
  readonly slots: Slots;
  readonly resolver: DigestResolver;
  readonly holder: HolderRun;
  readonly preheater: ImagePreheater;
  /** Outcomes of reads as holder, as the metric counts them. */
  readonly pulls: string[] = [];
  private readonly node: string;
  private readonly surroundings: Surroundings;

  constructor({ surroundings, preheatConcurrency = 1, ...options }: PreheatNodeOptions) {
    const { clock, node } = options;
    this.node = node;
    this.surroundings = surroundings;
    const metrics: Partial<PreheatMetrics> = {
      registryPull: (_image, result) => void this.pulls.push(result),
      registryPulling: () => undefined,
      state: () => undefined,
      drift: () => undefined,
      forgetImage: () => undefined,
    };
    const registry: Partial<RegistryClient> = {
      resolve: async () => ({ digest: await surroundings.resolve(node), mediaType: '', size: 1 }),
    };
    const archives = {
      find: () => {
        const root = surroundings.archived?.(node);
        return Promise.resolve(root && { root });
      },
    };
    const loader = { load: () => Promise.resolve({ kind: 'loaded' }) };
    const peers: Partial<PeerService> = { discoveredOnce: true };
    this.lock = new LockNode(options);
    this.status = new StatusStore(clock, metrics as PreheatMetrics);
    this.slots = new Slots({ preheatConcurrency });
    this.resolver = new DigestResolver(registry as RegistryClient, archives as unknown as ArchiveIndex);
    this.holder = new HolderRun(
      this.lock.lock,
      this.resolver,
      this.slots,
      peers as PeerService,
      metrics as PreheatMetrics,
      clock,
    );
    this.preheater = new ImagePreheater(
      this.lock.lock,
      this.resolver,
      this.holder,
      loader as unknown as ImageLoader,
      this.status,
      clock,
    );
  }

  session(wanted: WantedImage): ImageSession {
    const { surroundings, node, slots } = this;
    const session: Partial<ImageSession> = {
      wanted,
      progress: { bytesDone: 0, bytesTotal: 0, source: 'registry' },
      attempt: (digest, { lease }, signal) => {
        const work = () => surroundings.bring(digest, lease !== undefined, node);
        return lease ? work() : slots.work(wanted.priority, signal, work);
      },
      inSlot: (signal, work) => slots.work(wanted.priority, signal, () => work(signal)),
      touch: () => undefined,
    };
    return session as ImageSession;
  }
}
