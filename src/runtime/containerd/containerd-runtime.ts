import type { Readable } from 'node:stream';

import { anySignal } from '../../common/abort.js';
import type { Clock } from '../../common/clock.js';
import { imageTar } from '../../common/tar/image-tar.js';
import { planImageTar } from '../../common/tar/image-tar-plan.js';
import { InvalidInputError, PreheatFailure, reasonOf } from '../../domain/errors.js';
import { digestName, formatReference, parseImageReference } from '../../domain/image-reference.js';
import type { Platform } from '../../domain/platform.js';
import { CoalescedCall } from '../coalesced-call.js';
import type { ImagePinner } from '../image-pinner.js';
import type { ImageRuntime, RuntimeImage, RuntimeSnapshot } from '../image-runtime.js';
import type { RepoDigestRestorer } from '../repo-digest-restorer.js';
import { becomes } from './becomes.js';
import type { ContainerdClient } from './containerd-client.js';
import { containerdFailure } from './containerd-error.js';
import { ContentStore } from './content-store.js';
import { CriImages, snapshotterOf } from './cri-images.js';
import { ImagePins } from './image-pins.js';
import { type ImageRecord, ImageRecords } from './image-records.js';
import { PullWatch } from './pull-watch.js';

/** CRI's list follows containerd's names by events: within milliseconds, but for a machine that is very busy. */
const CRI_DELAY_MS = 30_000;
/** What CRI puts on the names of its own pulls. */
const CRI_LABELS = { 'io.cri-containerd.image': 'managed' };

/**
 * containerd, as kubelet sees it: CRI pulls, then the names are put on what it pulled. An image counts as there when CRI
 * shows its name, which it does not before all of it is unpacked.
 */
export class ContainerdRuntime implements ImageRuntime, RepoDigestRestorer, ImagePinner {
  private readonly listing = new CoalescedCall((signal) => this.readImages(signal));
  private readonly cri: CriImages;
  private readonly records: ImageRecords;
  private readonly pins: ImagePins;

  constructor(
    private readonly client: ContainerdClient,
    private readonly platform: Platform,
    private readonly clock: Clock,
  ) {
    this.cri = new CriImages(client);
    this.records = new ImageRecords(client);
    this.pins = new ImagePins(client, clock);
  }

  /** Where it is looked for. */
  get address(): string {
    return this.client.socketPath;
  }

  /** Resolves when CRI answers. @throws PreheatFailure `runtime_unreachable` or `runtime_error` */
  async ping(signal: AbortSignal): Promise<void> {
    await this.attempt(() => this.cri.snapshotDirectory(signal), signal);
  }

  list(signal: AbortSignal): Promise<RuntimeSnapshot> {
    return this.listing.run(signal);
  }

  async pull(name: string, signal: AbortSignal, onProgress: () => void = () => undefined): Promise<void> {
    await this.attempt(
      async () => {
        const directory = await this.cri.snapshotDirectory(signal);
        onProgress();
        const ended = new AbortController();
        const watch = new PullWatch(this.client, this.clock).run(
          snapshotterOf(directory ?? ''),
          onProgress,
          anySignal(signal, ended.signal),
        );
        try {
          await this.cri.pull(name, signal);
        } finally {
          ended.abort();
          await watch;
        }
        if (!(await this.records.find(name, signal))) throw this.notInNamespace();
      },
      signal,
      name,
    );
    this.listing.separate();
  }

  /** `registry/repository@digest` is put on it as well, as a pull of the tag would. */
  async tag(source: string, target: string, signal: AbortSignal): Promise<void> {
    const reference = parseImageReference(target);
    if (reference.tag === undefined || reference.digest !== undefined)
      throw new InvalidInputError('INVALID_REFERENCE', `"${target}" is not a tag`);
    await this.attempt(
      async () => {
        const image = await this.records.find(source, signal);
        if (!image) throw new PreheatFailure('runtime_error', 'containerd has no such image to tag');
        const names = [digestName(reference, image.target.digest), target];
        await Promise.all(names.map((name) => this.name(image, name, signal)));
      },
      signal,
      source,
    );
    this.listing.separate();
  }

  async untag(name: string, signal: AbortSignal): Promise<void> {
    await this.attempt(async () => {
      await this.records.delete(name, signal);
      const isGone = async (): Promise<boolean> => (await this.cri.status(name, signal)) === undefined;
      await becomes(isGone, CRI_DELAY_MS, this.clock, signal);
    }, signal);
    this.listing.separate();
  }

  export(name: string, signal: AbortSignal): Promise<Readable> {
    return this.attempt(async () => {
      const image = await this.records.find(name, signal);
      if (!image) throw new PreheatFailure('not_found', `containerd has no image ${name}`);
      const content = new ContentStore(this.client, signal);
      try {
        return imageTar(
          await planImageTar(name, this.platform, image.target.digest, content),
          content,
          signal,
        );
      } catch (cause) {
        if (reasonOf(cause, 'runtime_error') !== 'no_source') throw cause;
        throw new PreheatFailure(
          'not_found',
          `containerd has not kept all blobs of ${name} (discard_unpacked_layers, or a pull by another tool)`,
          { cause },
        );
      }
    }, signal);
  }

  restoreLocally(name: string, signal: AbortSignal): Promise<boolean> {
    return this.attempt(async () => {
      if (await this.cri.status(name, signal)) return true;
      const { digest } = parseImageReference(name);
      for (const image of await this.records.list([`target.digest==${digest ?? ''}`], signal)) {
        if (!(await this.cri.status(image.name, signal))) continue;
        await this.name(image, name, signal);
        this.listing.separate();
        return true;
      }
      return false;
    }, signal);
  }

  async restore(name: string, signal: AbortSignal): Promise<void> {
    if (await this.restoreLocally(name, signal)) return;
    throw new PreheatFailure('runtime_error', `containerd has no image to be known as ${name}`);
  }

  async pin(names: Iterable<string>, signal: AbortSignal): Promise<void> {
    await this.attempt(() => this.pins.pin(names, signal), signal);
  }

  async unpinAllBut(names: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    await this.attempt(() => this.pins.unpinAllBut(names, signal), signal);
  }

  /** Resolves when kubelet sees it. */
  private async name(
    { name: source, target }: ImageRecord,
    name: string,
    signal: AbortSignal,
  ): Promise<void> {
    const id = (await this.cri.status(source, signal))?.id;
    await this.records.set({ name, target, labels: CRI_LABELS }, signal);
    const isShown = async (): Promise<boolean> =>
      id !== undefined && (await this.cri.status(name, signal))?.id === id;
    if (await becomes(isShown, CRI_DELAY_MS, this.clock, signal)) return;
    throw new PreheatFailure('runtime_error', `containerd has ${name}, but does not show it to kubelet`);
  }

  private async readImages(signal: AbortSignal): Promise<RuntimeSnapshot> {
    return this.attempt(async () => {
      const [images, records, rootDirectory] = await Promise.all([
        this.cri.list(signal),
        this.records.list([], signal),
        this.cri.snapshotDirectory(signal),
      ]);
      const shown = new Set(images.flatMap(({ repoTags, repoDigests }) => [...repoTags, ...repoDigests]));
      const named = records.filter(({ name }) => shown.has(name) && isCanonical(name));
      return {
        identifiesBy: 'manifest',
        images: new Map(
          named.map(({ name, target: { digest } }): [string, RuntimeImage] => [name, { id: digest, digest }]),
        ),
        ...(rootDirectory === undefined ? {} : { rootDirectory }),
      };
    }, signal);
  }

  private notInNamespace(): PreheatFailure {
    return new PreheatFailure(
      'runtime_error',
      `what CRI of containerd pulled is not in its namespace "${this.client.namespace}" (CONTAINERD_NAMESPACE)`,
    );
  }

  /** Turns what containerd or the connection to it threw into the failures of the contract. */
  private async attempt<T>(work: () => Promise<T>, signal: AbortSignal, name?: string): Promise<T> {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      throw containerdFailure(error, this.client.socketPath, name);
    }
  }
}

/** The short names that `ctr` takes are not what they look like to kubelet. */
function isCanonical(name: string): boolean {
  try {
    return formatReference(parseImageReference(name)) === name;
  } catch (error) {
    if (error instanceof InvalidInputError) return false;
    throw error;
  }
}
