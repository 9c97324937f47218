import { lstat, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { Injectable } from '@nestjs/common';

import { TEMPORARY_SUFFIX } from '../common/atomic-file.js';
import { type Digest, isDigest } from '../domain/digest.js';
import { isMissing } from './disk-errors.js';
import { StoreLayout } from './store-layout.js';

const BLOCK_BYTES = 512;

/** What is on disk, by digest. */
export interface Inventory {
  /** Complete blobs and their sizes. */
  readonly complete: ReadonlyMap<Digest, number>;
  /** Partial blobs and the bytes they take up: they are sparse. */
  readonly partial: ReadonlyMap<Digest, number>;
}

/** Looks at the store's folders, and takes blobs out of them. */
@Injectable()
export class StoreInventory {
  constructor(private readonly layout: StoreLayout) {}

  async list(): Promise<Inventory> {
    const [complete, partial] = await Promise.all([
      sizesIn(this.layout.blobs, ({ size }) => size),
      sizesIn(this.layout.partials, ({ blocks }) => blocks * BLOCK_BYTES),
    ]);
    return { complete, partial };
  }

  /** Removes a blob in whichever state it is. Whoever reads it at the moment can go on. */
  async remove(digest: Digest): Promise<void> {
    const { layout } = this;
    const paths = [
      layout.partialRecord(digest),
      layout.partial(digest),
      layout.blob(digest),
      layout.chunkHashes(digest),
    ];
    for (const path of paths) await rm(path, { force: true });
  }

  /** Removes what a crash left and nobody can use. Only while nothing is being written. */
  async sweep(): Promise<void> {
    const { layout } = this;
    await this.sweepStrangers();
    for (const folder of [layout.root, layout.partials, layout.chunks]) {
      for (const name of await readdir(folder)) {
        if (name.endsWith(TEMPORARY_SUFFIX)) await rm(join(folder, name), { force: true, recursive: true });
      }
    }
    const blobs = new Set(await readdir(layout.blobs));
    for (const name of await readdir(layout.chunks)) {
      if (!blobs.has(name.replace(/\.json$/, ''))) await rm(join(layout.chunks, name), { force: true });
    }
    // A partial file without a record is not trusted in any part, and a record without a file says nothing.
    const partials = new Set(await readdir(layout.partials));
    for (const name of partials) {
      const other = name.endsWith('.json') ? name.slice(0, -'.json'.length) : `${name}.json`;
      if (!partials.has(other)) await rm(join(layout.partials, name), { force: true });
    }
  }

  /**
   * Removes what lies where only files of ours belong, and is none: a folder, a link, a FIFO. Opening it could wait for
   * ever, or lead out of the store.
   */
  private async sweepStrangers(): Promise<void> {
    const { layout } = this;
    const documents = [layout.catalogFile, layout.recordsFile, layout.keyFile, layout.indexFile];
    const inFolders = [layout.blobs, layout.partials, layout.chunks].map(async (folder) =>
      (await readdir(folder)).map((name) => join(folder, name)),
    );
    for (const path of [...documents, ...(await Promise.all(inFolders)).flat()]) {
      const stats = await lstat(path).catch(() => undefined);
      if (stats && !stats.isFile()) await rm(path, { force: true, recursive: true });
    }
  }
}

async function sizesIn(
  folder: string,
  sizeOf: (file: { size: number; blocks: number }) => number,
): Promise<Map<Digest, number>> {
  const sizes = new Map<Digest, number>();
  for (const name of await namesIn(folder)) {
    const digest = `sha256:${name}`;
    if (!isDigest(digest)) continue;
    try {
      sizes.set(digest, sizeOf(await stat(join(folder, name))));
    } catch (error) {
      // Committed or removed since the folder was read.
      if (!isMissing(error)) throw error;
    }
  }
  return sizes;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
