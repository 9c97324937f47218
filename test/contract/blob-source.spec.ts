import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { Logger } from '@nestjs/common';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { digestOf, hexOf } from '../../src/domain/digest.js';
import { parseImageReference } from '../../src/domain/image-reference.js';
import type { Lease } from '../../src/lock/lease.js';
import { ArchiveIndex } from '../../src/transfer/archive/archive-index.js';
import { PeerSource } from '../../src/transfer/peer.source.js';
import { RegistrySource } from '../../src/transfer/registry.source.js';
import { InstantClock } from '../support/instant-clock.js';
import { PeerAgent } from '../support/peer-agent.js';
import { TestRegistryClient } from '../support/registry-client.js';
import { ociLayoutFiles, tarOf, tinyImage } from '../support/tiny-image.js';
import { BLOB_BYTES, type BlobSourceSubject, describeBlobSource } from './blob-source.contract.js';

const bytes = randomBytes(BLOB_BYTES);
const digest = digestOf(bytes);

beforeAll(() => {
  Logger.overrideLogger(false);
});

describe('archive source', () => {
  describeBlobSource(bytes, async (): Promise<BlobSourceSubject> => {
    const directory = await mkdtemp(join(tmpdir(), 'mnt-'));
    const file = join(directory, 'app.tar');
    const layout = ociLayoutFiles(tinyImage(), ['docker.io/library/app:v1']);
    await writeFile(file, tarOf([...layout, [`blobs/sha256/${hexOf(digest)}`, bytes]]));
    const index = new ArchiveIndex({ mountDir: directory }, new InstantClock());
    return {
      source: index.source(),
      breakOff: () => truncate(file, BLOB_BYTES / 2),
      dispose: () => rm(directory, { recursive: true }),
    };
  });
});

describe('peer source', () => {
  describeBlobSource(bytes, async (): Promise<BlobSourceSubject> => {
    const [asking, holding] = await Promise.all([
      PeerAgent.start({ node: 'one' }),
      PeerAgent.start({ node: 'other' }),
    ]);
    await asking.meet(holding);
    holding.holdings.blobs.set(digest, bytes);
    return {
      source: new PeerSource(asking.service, asking.service.peers()[0]!),
      breakOff: () => {
        holding.holdings.blobResponse = (_request, response) => {
          response.writeHead(200, { 'content-length': BLOB_BYTES });
          response.write(bytes.subarray(0, BLOB_BYTES / 2), () => response.destroy());
        };
        return Promise.resolve();
      },
      dispose: async () => {
        await Promise.all([asking.stop(), holding.stop()]);
      },
    };
  });
});

describe('registry source', () => {
  const held = { mayReadRegistry: () => true, signal: new AbortController().signal } as Lease;

  async function start(lease: Lease): Promise<BlobSourceSubject> {
    const registry = await DemoRegistry.start();
    await registry.content.addBlob('team/app', Readable.from([bytes]));
    const test = await TestRegistryClient.create({ clock: new InstantClock() });
    const reference = parseImageReference(`${registry.host}/team/app:1`);
    return {
      source: new RegistrySource(test.client, reference, lease),
      breakOff: () => {
        registry.faults.add(/^GET .*\/blobs\//, { kind: 'cut', afterBytes: BLOB_BYTES / 2 }, Infinity);
        return Promise.resolve();
      },
      dispose: async () => {
        await test.dispose();
        await registry.stop();
      },
    };
  }

  describeBlobSource(bytes, () => start(held));

  it('is closed without the lease, and when it ends', async () => {
    const blob = { digest, size: BLOB_BYTES, mediaType: '' };
    const { signal } = new AbortController();
    const ending = new AbortController();
    let mayRead = true;
    const lease = { mayReadRegistry: () => mayRead, signal: ending.signal } as Lease;
    const { source, dispose } = await start(lease);
    try {
      const { stream } = await source.open(blob, { start: 0, end: BLOB_BYTES }, signal);
      mayRead = false;
      ending.abort(new Error('the lease is lost'));
      await expect(stream.toArray()).rejects.toThrow('the lease is lost');
      expect(await source.has(blob, signal)).toBe(false);
      await expect(source.open(blob, { start: 0, end: BLOB_BYTES }, signal)).rejects.toMatchObject({
        reason: 'lock_unavailable',
      });
    } finally {
      await dispose();
    }
  });
});
