import { truncate } from 'node:fs/promises';
import { join } from 'node:path';

import type { AgentCluster } from '../support/agent-cluster.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { idWhenReady, prepareDirectoryCluster, wrongBlobs } from '../support/directory-cluster.js';
import { freePort } from '../support/free-port.js';
import { writeDockerArchive, writeOciArchive } from '../support/image-archive.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { tarOf } from '../support/tiny-image.js';
import { writeFile } from 'node:fs/promises';

const MIB = 1024 * 1024;
const READY_MS = 120_000;

describe('Archives in MOUNT_DIR, and no registry', () => {
  const cleanup = new Cleanup();
  let builder: ImageBuilder;
  let cluster: AgentCluster;
  let registry: string;

  beforeAll(async () => {
    builder = await cleanup.track(ImageBuilder.create(), (created) => created.dispose());
    cluster = await prepareDirectoryCluster(cleanup, 3);
    registry = `127.0.0.1:${await freePort()}`;
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  function build(seed: string): Promise<BuiltImage> {
    const layers = [1, 2].map((index) => ({ seed: `${seed}-${index}`, sizeBytes: MIB, compressible: 0.5 }));
    return builder.image({ layers, label: seed });
  }

  it(
    'one node’s archive makes all nodes ready, while the registry fails for everyone else',
    async () => {
      const saved = `${registry}/team/saved:1.0`;
      const layout = `${registry}/team/layout:1.0`;
      const [first, , third] = cluster.agents as [AgentProcess, AgentProcess, AgentProcess];
      await writeDockerArchive(await build('saved'), join(third.archiveDirectory, 'saved.tar'), [saved]);
      const image = await build('layout');
      await writeOciArchive(image, join(first.archiveDirectory, 'layout.tar'), [layout]);
      await cluster.list(saved, layout);
      cluster.start();
      await idWhenReady(cluster.agents, saved, READY_MS);
      expect(await idWhenReady(cluster.agents, layout, READY_MS)).toBe(image.root.digest);
      for (const agent of cluster.agents) {
        expect(await wrongBlobs(agent)).toEqual([]);
        expect(await agent.metric('image_preheat_registry_bytes_total')).toBe(0);
      }
    },
    READY_MS,
  );

  it(
    'one that comes late ends the wait for a registry that is not there',
    async () => {
      const late = `${registry}/team/late:1.0`;
      await cluster.list(late);
      await Promise.all(cluster.agents.map((agent) => agent.until(late, 'failed', 60_000)));
      const [, second] = cluster.agents as [AgentProcess, AgentProcess];
      await writeOciArchive(await build('late'), join(second.archiveDirectory, 'late.tar'), [late]);
      await idWhenReady(cluster.agents, late, READY_MS);
    },
    READY_MS,
  );

  it(
    'bad ones are passed over and reported: stale beside a record, broken, or leading out of their place',
    async () => {
      const [first] = cluster.agents as [AgentProcess];
      const layout = `${registry}/team/layout:1.0`;
      const { archiveDirectory } = first;
      await first.end();
      // The record says what it is: this node begins anew, with a tar that says otherwise.
      await writeOciArchive(await build('stale'), join(archiveDirectory, 'layout.tar'), [layout]);
      await writeOciArchive(await build('broken'), join(archiveDirectory, 'broken.tar'), [layout]);
      await truncate(join(archiveDirectory, 'broken.tar'), MIB);
      await writeFile(
        join(archiveDirectory, 'escaping.tar'),
        tarOf([
          ['../../outside', 'x'],
          ['index.json', '{}'],
        ]),
      );
      await first.list(layout);
      first.start({
        STORE_DIR: join(first.directory, 'other-store'),
        RUNTIME_DIR: join(first.directory, 'other-runtime'),
      });
      const status = await first.until(layout, 'ready', READY_MS);
      expect(status.source).toBe('peer');
      await idWhenReady(cluster.agents.slice(0, 1), layout, READY_MS);
      const reported = (await first.log()).split('\n').filter((line) => line.includes('archive_invalid'));
      for (const file of ['layout.tar', 'broken.tar', 'escaping.tar'])
        expect(reported.filter((line) => line.includes(file))).toHaveLength(1);
    },
    READY_MS,
  );
});
