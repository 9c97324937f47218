import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { describeUnless } from '../support/engines.js';
import { missingBuild, StoreWriter } from '../support/store-writer.js';
import { TemporaryStore } from '../support/temporary-store.js';

const BLOB_BYTES = 20 * 1024 * 1024;
const KILLS = 20;
const signal = new AbortController().signal;

describeUnless(missingBuild, 'a store whose process is killed with -9 at random points', () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'store-crash-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is used by the next start, goes on where it stopped, and never holds a wrong or left-over byte', async () => {
    let resumedChunks = 0;
    let committedBlobs = 0;
    // Where a kill falls is chance: go on until some have hit what matters.
    const enough = (kills: number) => kills >= KILLS && resumedChunks > 0 && committedBlobs > 0;
    for (let kills = 0; !enough(kills) && kills < 5 * KILLS; kills += 1) {
      const writer = new StoreWriter(directory, BLOB_BYTES);
      try {
        await writer.opened();
        await setTimeout(Math.random() * 600);
      } finally {
        await writer.kill();
      }
      resumedChunks += writer.resumedChunks[0] ?? 0;
      committedBlobs += writer.committedBlobs;

      const files = await TemporaryStore.open({ directory });
      expect(await files.store.verifyAll(signal)).toEqual([]);
      const blobs = new Set(await readdir(files.layout.blobs));
      for (const { blobs: needed } of files.catalog.list()) {
        for (const { digest } of needed) expect(blobs).toContain(digest.slice('sha256:'.length));
      }
      const partials = await readdir(files.layout.partials);
      // At most the one blob that was being written, and its record; no spool, no temporary.
      expect(partials.filter((name) => !/^[0-9a-f]{64}(\.json)?$/.test(name))).toEqual([]);
      expect(partials.length).toBeLessThanOrEqual(2);
      expect((await readdir(files.directory)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
      expect((await readdir(files.layout.chunks)).map((name) => name.slice(0, 64)).toSorted()).toEqual(
        [...blobs].toSorted(),
      );
      await files.store.close();
    }
    expect(resumedChunks).toBeGreaterThan(0);
    expect(committedBlobs).toBeGreaterThan(0);
  }, 300_000);
});
