import { Inject, Injectable } from '@nestjs/common';

import { AppConfig } from '../config/app-config.js';
import { InvalidInputError } from '../domain/errors.js';
import { formatReference, type ImageReference } from '../domain/image-reference.js';
import { formatPlatform } from '../domain/platform.js';
import type { ImageListEntry } from '../image-list/image-list.js';
import { ImageListService } from '../image-list/image-list.service.js';
import { idOf, type WantedImage } from './wanted-image.js';

/** Requests that are remembered; fulfilled ones make room for new ones. */
const MAX_REQUESTS = 1000;

interface Request {
  readonly wanted: WantedImage;
  /** The image was ready once: it is not fetched again when somebody removes it. */
  readonly fulfilled: boolean;
}

/** What is wanted, as of one list and one set of requests. */
interface Index {
  readonly entries: readonly ImageListEntry[];
  readonly all: readonly WantedImage[];
  readonly listed: ReadonlySet<string>;
  readonly byName: ReadonlyMap<string, readonly WantedImage[]>;
}

/** What this node is to have: its list, and what was asked for by request. Nobody may ask about anything else. */
@Injectable()
export class WantedImages {
  private readonly requests = new Map<string, Request>();
  private index: Index | undefined;

  constructor(
    @Inject(AppConfig) private readonly config: Pick<AppConfig, 'platform' | 'pullingTimeoutMs'>,
    private readonly list: ImageListService,
  ) {}

  /** By priority; of an image that is both listed and requested the list's entry counts. */
  all(): readonly WantedImage[] {
    return this.current().all;
  }

  /** The wanted image of this canonical name; the node's own platform first. */
  find(image: string): WantedImage | undefined {
    const found = this.current().byName.get(image);
    const own = formatPlatform(this.config.platform);
    return found?.find(({ platform }) => formatPlatform(platform) === own) ?? found?.[0];
  }

  /**
   * Remembers a request; a fulfilled one for the same image begins anew.
   * @throws InvalidInputError `TOO_MANY_REQUESTED_IMAGES`
   */
  request(references: readonly ImageReference[]): void {
    const { platform, pullingTimeoutMs } = this.config;
    const added = new Map(
      references.map((reference): [string, WantedImage] => {
        const image = formatReference(reference);
        const wanted = { image, reference, platform, priority: 0, timeoutMs: pullingTimeoutMs };
        return [idOf(wanted), wanted];
      }),
    );
    this.makeRoom(added);
    for (const [id, wanted] of added) {
      this.requests.delete(id);
      this.requests.set(id, { wanted, fulfilled: false });
    }
    this.index = undefined;
  }

  /** By the list, and not by a request alone. */
  isListed(wanted: WantedImage): boolean {
    return this.current().listed.has(idOf(wanted));
  }

  /** The image is ready: if it is wanted by request alone, that was it. */
  fulfil(wanted: WantedImage): void {
    const request = this.requests.get(idOf(wanted));
    if (request && !request.fulfilled) this.requests.set(idOf(wanted), { ...request, fulfilled: true });
  }

  /** Whether the image was ready before, and nobody wants it to be so again. */
  isFulfilled(wanted: WantedImage): boolean {
    return !this.isListed(wanted) && this.requests.get(idOf(wanted))?.fulfilled === true;
  }

  /** Whether somebody has requested it who has not got it yet. */
  isAskedFor(wanted: WantedImage): boolean {
    return this.requests.get(idOf(wanted))?.fulfilled === false;
  }

  /** Forgets a request. */
  withdraw(wanted: WantedImage): void {
    if (this.requests.delete(idOf(wanted))) this.index = undefined;
  }

  private makeRoom(added: ReadonlyMap<string, WantedImage>): void {
    const others = [...this.requests].filter(([id]) => !added.has(id));
    const excess = others.length + added.size - MAX_REQUESTS;
    const fulfilled = others.filter(([, request]) => request.fulfilled);
    if (excess > fulfilled.length) {
      throw new InvalidInputError(
        'TOO_MANY_REQUESTED_IMAGES',
        `${others.length - fulfilled.length} requested images are not ready yet; ${MAX_REQUESTS} are accepted at a time`,
      );
    }
    for (const [id] of fulfilled.slice(0, Math.max(0, excess))) this.requests.delete(id);
  }

  private current(): Index {
    const { entries } = this.list.snapshot;
    if (this.index?.entries !== entries) this.index = this.build(entries);
    return this.index;
  }

  private build(entries: readonly ImageListEntry[]): Index {
    const { pullingTimeoutMs } = this.config;
    const listed = entries.map(
      ({ image, reference, platform, priority, timeoutMs = pullingTimeoutMs }): WantedImage => {
        return { image, reference, platform, priority, timeoutMs };
      },
    );
    const ids = new Set(listed.map(idOf));
    const requested = [...this.requests].filter(([id]) => !ids.has(id)).map(([, { wanted }]) => wanted);
    const all = [...listed, ...requested].sort((left, right) => right.priority - left.priority);
    return { entries, all, listed: ids, byName: Map.groupBy(all, ({ image }) => image) };
  }
}
