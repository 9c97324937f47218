import { Inject, Injectable, Logger } from '@nestjs/common';

import { Clock } from '../common/clock.js';
import { formatBytes } from '../common/units.js';
import { AppConfig } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { BlobStore } from './blob-store.js';
import type { CatalogImage, SizedBlob } from './catalog-image.js';
import { diskSpaceOf, maxStoreBytes, minFreeBytes, shrinkBelowBytes } from './disk-space.js';
import { type EvictionInput, type EvictionPlan, planEviction } from './eviction-plan.js';
import { ImageCatalog } from './image-catalog.js';
import { formatRoom, InsufficientDisk, runtimeDiskFull } from './insufficient-disk.js';
import { RuntimeDisk, type RuntimeLoad } from './runtime-disk.js';
import { StoreInventory } from './store-inventory.js';
import { StoreLayout } from './store-layout.js';

/** A blob that a peer asked for stays at least this long; so does an image that has just come. */
const ASKED_FOR_MS = 10 * 60_000;

/** Holds an image's blobs in the store, and the room for those still to come. */
export interface Pin {
  /** Once is enough, more does no harm. */
  release(): void;
}

interface PinnedImage {
  readonly image: string;
  readonly blobs: readonly SizedBlob[];
  readonly load: RuntimeLoad | undefined;
}

/** Decides whether an image may come in, and what has to go for it. */
@Injectable()
export class StoreSpace {
  private readonly logger = new Logger(StoreSpace.name);
  private readonly runtimeDisk = new RuntimeDisk();
  private readonly pins = new Map<Pin, PinnedImage>();
  private readonly askedAt = new Map<Digest, { readonly monotonicMs: number; readonly wallMs: number }>();
  private listed: ReadonlySet<string> = new Set();
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    @Inject(AppConfig) private readonly config: AppConfig,
    @Inject(Clock) private readonly clock: Clock,
    private readonly layout: StoreLayout,
    private readonly store: BlobStore,
    private readonly inventory: StoreInventory,
    private readonly catalog: ImageCatalog,
  ) {}

  /** The images, by canonical reference, that are evicted last. */
  setListed(images: ReadonlySet<string>): void {
    this.listed = new Set(images);
  }

  /** A peer asked for this blob: images that have it stay for ten minutes. */
  touch(digest: Digest): void {
    this.askedAt.set(digest, { monotonicMs: this.clock.monotonicMs(), wallMs: this.clock.wallMs() });
  }

  /** Bytes that all blobs, partial ones too, take up. */
  async usedBytes(): Promise<number> {
    const { complete, partial } = await this.inventory.list();
    return sum(complete.values()) + sum(partial.values());
  }

  /**
   * Makes room for an image, before a byte of it is fetched, and keeps it until the pin is released. Pin an image anew
   * when its blobs turn out to be others.
   * @param load what the runtime will need for it, on its own disk or on the same
   * @param replaced the pin that this one takes the place of: its room counts as free, and it is released when this one
   *   is there. Where there is no room it stays.
   * @throws PreheatFailure `store_full` above `STORE_MAX_SIZE`, `insufficient_disk` below `MIN_FREE_DISK`; nothing was
   *   evicted then
   */
  async pin(image: string, blobs: readonly SizedBlob[], load?: RuntimeLoad, replaced?: Pin): Promise<Pin> {
    return this.inTurn(async () => {
      const others = [...this.pins].flatMap(([pin, pinned]) => (pin === replaced ? [] : [pinned]));
      const alsoNeeded = load ? await this.checkRuntime(load, others) : 0;
      await this.makeRoom(image, blobs, alsoNeeded, others);
      replaced?.release();
      for (const known of this.catalog.list()) if (known.image === image) this.catalog.markUsed(known);
      return this.hold({ image, blobs, load });
    });
  }

  /**
   * Keeps room for what the runtime itself is about to write for an image, until the pin is released. Nothing is evicted
   * for it.
   * @throws PreheatFailure `insufficient_disk` below `MIN_FREE_DISK`
   */
  async reserve(image: string, load: RuntimeLoad): Promise<Pin> {
    return this.inTurn(async () => {
      const pins = [...this.pins.values()];
      const shared = await this.checkRuntime(load, pins);
      if (shared > 0) {
        const { complete, partial } = await this.inventory.list();
        const { reservedBytes } = this.demandOf([], new Map([...partial, ...complete]), pins);
        const disk = await diskSpaceOf(this.layout.root);
        const left = disk.freeBytes - minFreeBytes(this.config.store.minFree, disk) - reservedBytes;
        if (shared > left) throw runtimeDiskFull(load, left, disk);
      }
      return this.hold({ image, blobs: [], load });
    });
  }

  /**
   * Gives up images that nobody has needed for ten minutes, as far as it takes, where little space is left on the store's
   * disk, whoever took it. To be called now and then.
   * @param runtimeDirectory where the runtime keeps its images: the log says so, once, when it cannot be measured
   */
  async relieve(runtimeDirectory: string | undefined): Promise<void> {
    await this.inTurn(async () => {
      await this.layout.ensure();
      if (runtimeDirectory !== undefined) await this.runtimeDisk.space(runtimeDirectory, this.layout.root);
      const disk = await diskSpaceOf(this.layout.root);
      const missing = shrinkBelowBytes(this.config.store.minFree, disk) - disk.freeBytes;
      if (missing <= 0) return;
      const { complete, partial } = await this.inventory.list();
      const input = this.evictionInput([], new Map([...partial, ...complete]), [...this.pins.values()]);
      const newestMs = this.clock.wallMs() - ASKED_FOR_MS;
      const isHeld = (image: CatalogImage): boolean => input.isHeld(image) || image.lastUsedMs > newestMs;
      await this.evict(planEviction({ ...input, isHeld }, missing));
    });
  }

  /** One at a time: two that look at the same free space would both take it. */
  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.turn.then(work);
    this.turn = turn.catch(() => undefined);
    return turn;
  }

  private hold(pinned: PinnedImage): Pin {
    const pin: Pin = { release: () => void this.pins.delete(pin) };
    this.pins.set(pin, pinned);
    return pin;
  }

  /** @returns bytes that the runtime will take from the store's disk; @throws PreheatFailure `insufficient_disk` */
  private async checkRuntime(load: RuntimeLoad, others: readonly PinnedImage[]): Promise<number> {
    const { directory, sizeBytes } = load;
    if (sizeBytes === 0) return 0;
    await this.layout.ensure();
    const disk = await this.runtimeDisk.space(directory, this.layout.root);
    if (!disk) return 0;
    // What others that are pinned have loaded so far is not free any more, and counted again: better than too little.
    const reserved = sum(
      others.map((other) => (other.load?.directory === directory ? other.load.sizeBytes : 0)),
    );
    if (disk.sharedWithStore) return sizeBytes + reserved;
    const left = disk.freeBytes - minFreeBytes(this.config.store.minFree, disk) - reserved;
    if (sizeBytes > left) throw runtimeDiskFull(load, left, disk);
    return 0;
  }

  private async makeRoom(
    image: string,
    blobs: readonly SizedBlob[],
    runtimeBytes: number,
    others: readonly PinnedImage[],
  ): Promise<void> {
    const known = this.catalog.list();
    const { complete, partial } = await this.inventory.list();
    await this.catalog.forgetIncomplete(known, new Set(complete.keys()));
    const onDisk = new Map([...partial, ...complete]);
    const demand = this.demandOf(blobs, onDisk, others);
    const diskBytes = demand.imageBytes + runtimeBytes;
    if (diskBytes === 0) return;

    await this.layout.ensure();
    const disk = await diskSpaceOf(this.layout.root);
    const storeMax = maxStoreBytes(this.config.store.maxSizeBytes, disk);
    const storeRoom = storeMax - sum(onDisk.values()) - demand.reservedBytes;
    const diskRoom = disk.freeBytes - minFreeBytes(this.config.store.minFree, disk) - demand.reservedBytes;

    const scarce =
      shrinkBelowBytes(this.config.store.minFree, disk) - (disk.freeBytes - demand.reservedBytes);
    const missing = Math.max(demand.imageBytes === 0 ? 0 : demand.imageBytes - storeRoom, diskBytes + scarce);
    if (missing <= 0) return;
    const plan = planEviction(this.evictionInput(blobs, onDisk, others, image), missing);
    const need = `the image needs ${formatBytes(demand.imageBytes)} more`;
    if (demand.imageBytes > 0 && demand.imageBytes > storeRoom + plan.freedBytes) {
      throw new PreheatFailure(
        'store_full',
        `${need}, but beside images in use the store has room for ${formatRoom(storeRoom + plan.freedBytes)} (STORE_MAX_SIZE ${formatBytes(storeMax)})`,
      );
    }
    if (diskBytes > diskRoom + plan.freedBytes) {
      const unpacked = runtimeBytes === 0 ? '' : `, and the runtime about ${formatBytes(runtimeBytes)}`;
      throw new InsufficientDisk(
        `${need}${unpacked}, but MIN_FREE_DISK leaves ${formatRoom(diskRoom + plan.freedBytes)} of the ${formatBytes(disk.freeBytes)} free on the disk of STORE_DIR`,
        this.layout.root,
        disk.freeBytes + diskBytes - diskRoom - plan.freedBytes,
      );
    }
    await this.evict(plan);
  }

  /** Bytes still to be written: for this image, and for others that are pinned. Shared blobs count once, for the others. */
  private demandOf(
    blobs: readonly SizedBlob[],
    onDisk: ReadonlyMap<Digest, number>,
    others: readonly PinnedImage[],
  ) {
    const counted = new Set<Digest>();
    const missingOf = (wanted: readonly SizedBlob[]): number => {
      let bytes = 0;
      for (const { digest, size } of wanted) {
        if (!counted.has(digest)) bytes += Math.max(0, size - (onDisk.get(digest) ?? 0));
        counted.add(digest);
      }
      return bytes;
    };
    const reservedBytes = missingOf(others.flatMap((pinned) => pinned.blobs));
    return { reservedBytes, imageBytes: missingOf(blobs) };
  }

  private evictionInput(
    blobs: readonly SizedBlob[],
    onDisk: ReadonlyMap<Digest, number>,
    others: readonly PinnedImage[],
    ...images: readonly string[]
  ): EvictionInput {
    const held = new Set([...images, ...others.map((other) => other.image)]);
    const pinned = new Set(others.flatMap((other) => other.blobs.map(({ digest }) => digest)));
    for (const { digest } of blobs) pinned.add(digest);
    for (const digest of onDisk.keys()) if (this.store.isBeingWritten(digest)) pinned.add(digest);
    const asked = this.recentlyAsked();
    for (const digest of asked) pinned.add(digest);
    const isHeld = (candidate: CatalogImage): boolean =>
      held.has(candidate.image) || candidate.blobs.some(({ digest }) => asked.has(digest));
    return { onDisk, images: this.catalog.list(), isHeld, pinned, listed: this.listed };
  }

  /** Turns what peers asked for into last uses, and tells which blobs must stay because of it. */
  private recentlyAsked(): ReadonlySet<Digest> {
    for (const image of this.catalog.list()) {
      const times = image.blobs.map(({ digest }) => this.askedAt.get(digest)?.wallMs ?? 0);
      this.catalog.markUsed(image, Math.max(...times));
    }
    const oldestMs = this.clock.monotonicMs() - ASKED_FOR_MS;
    for (const [digest, { monotonicMs }] of this.askedAt)
      if (monotonicMs < oldestMs) this.askedAt.delete(digest);
    return new Set(this.askedAt.keys());
  }

  private async evict({ images, digests, freedBytes }: EvictionPlan): Promise<void> {
    if (images.length === 0 && digests.length === 0) return;
    await this.catalog.remove(images);
    for (const digest of digests) {
      await this.store.release(digest);
      await this.inventory.remove(digest);
    }
    this.logger.log(
      { images: images.map(({ image }) => image), blobs: digests.length, freedBytes },
      'evicted images to make room',
    );
  }
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
