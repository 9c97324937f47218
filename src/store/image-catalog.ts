import { Inject, Injectable } from '@nestjs/common';

import { writeFileAtomic } from '../common/atomic-file.js';
import { Clock } from '../common/clock.js';
import { readSmallFile } from '../common/small-file.js';
import type { Digest } from '../domain/digest.js';
import { type CatalogImage, formatCatalog, parseCatalog } from './catalog-image.js';
import { ociIndexOf } from './oci-index.js';
import { asStoreFailure } from './disk-errors.js';
import { StoreLayout } from './store-layout.js';

/**
 * Which images the store holds, whole: kept in `catalog.json`, shown to other tools in `index.json`.
 * The store may lose blobs behind its back (a deleted folder): opening one tells, and such images are forgotten when room is made.
 */
@Injectable()
export class ImageCatalog {
  private readonly images = new Map<string, CatalogImage>();
  private saved: Promise<void> = Promise.resolve();

  constructor(
    private readonly layout: StoreLayout,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** Reads what the last run left; images that lack a blob are left out. Called by `BlobStore.open`. */
  async load(present: ReadonlySet<Digest>): Promise<void> {
    const text = await readSmallFile(this.layout.catalogFile).catch(() => '');
    this.images.clear();
    for (const entry of parseCatalog(text.toString()))
      this.images.set(keyOf(entry.image, entry.platform), entry);
    await this.forgetIncomplete(this.list(), present);
    await this.save();
  }

  /** Enters an image, or replaces what was known of it, as used now. All of its blobs must be complete in the store. */
  async add(image: Omit<CatalogImage, 'lastUsedMs'>): Promise<void> {
    this.images.set(keyOf(image.image, image.platform), { ...image, lastUsedMs: this.clock.wallMs() });
    await this.save();
  }

  find(image: string, platform: string): CatalogImage | undefined {
    return this.images.get(keyOf(image, platform));
  }

  list(): readonly CatalogImage[] {
    return [...this.images.values()];
  }

  /** Takes images off the list; their blobs are the caller's business. */
  async remove(images: readonly Pick<CatalogImage, 'image' | 'platform'>[]): Promise<void> {
    for (const { image, platform } of images) this.images.delete(keyOf(image, platform));
    await this.save();
  }

  /** Forgets those of `images`, as they were listed before `present` was found out, that lack a blob. */
  async forgetIncomplete(images: readonly CatalogImage[], present: ReadonlySet<Digest>): Promise<void> {
    const incomplete = images.filter(({ blobs }) => !blobs.every(({ digest }) => present.has(digest)));
    // One that was added anew since is another matter.
    const gone = incomplete.filter((entry) => this.find(entry.image, entry.platform)?.blobs === entry.blobs);
    if (gone.length > 0) await this.remove(gone);
  }

  /** Notes a use, for the order of eviction; written down with the next change. */
  markUsed(image: CatalogImage, wallMs = this.clock.wallMs()): void {
    const key = keyOf(image.image, image.platform);
    const known = this.images.get(key);
    if (known && known.lastUsedMs < wallMs) this.images.set(key, { ...known, lastUsedMs: wallMs });
  }

  /** Writes both files as they stand. @throws PreheatFailure `insufficient_disk` */
  async save(): Promise<void> {
    const turn = this.saved.then(async () => {
      await this.layout.ensure();
      await writeFileAtomic(this.layout.catalogFile, formatCatalog(this.images.values()));
      await writeFileAtomic(this.layout.indexFile, ociIndexOf(this.list()));
    });
    this.saved = turn.catch(() => undefined);
    try {
      await turn;
    } catch (error) {
      throw asStoreFailure(error, 'the list of images');
    }
  }
}

function keyOf(image: string, platform: string): string {
  return `${image}|${platform}`;
}
