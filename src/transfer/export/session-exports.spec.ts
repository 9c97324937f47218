import { Readable } from 'node:stream';

import { Logger } from '@nestjs/common';

import { TemporaryStore } from '../../../test/support/temporary-store.js';
import {
  dockerArchiveFiles,
  ociLayoutFiles,
  TINY_PLATFORM,
  tarOf,
  tinyImage,
} from '../../../test/support/tiny-image.js';
import { VirtualClock } from '../../../test/support/virtual-clock.js';
import { type Digest, digestOf } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { parseImageReference } from '../../domain/image-reference.js';
import type { Lease } from '../../lock/lease.js';
import type { PreheatMetrics } from '../../metrics/preheat-metrics.js';
import { AgentIdentity } from '../../peers/agent-identity.js';
import type { BlobAvailability } from '../../peers/availability.js';
import { PeerError } from '../../peers/peer-error.js';
import type { Peer } from '../../peers/peer-identity.js';
import type { PeerService } from '../../peers/peer.service.js';
import type { RuntimeHolding } from '../../peers/runtime-view.js';
import { SwarmSource } from '../../peers/swarm/swarm-source.js';
import type { RegistryClient } from '../../registry/registry-client.js';
import { StoreInventory } from '../../store/store-inventory.js';
import type { ArchiveIndex } from '../archive/archive-index.js';
import { BlobDownloader } from '../blob-downloader.js';
import type { BlobSource } from '../blob-source.js';
import type { Downlink } from '../downlink.js';
import { Flights } from '../flights.js';
import { OriginClaims } from '../origin-claims.js';
import { PeerSweep } from '../peer-sweep.js';
import { RuntimeExports } from '../runtime-exports.js';
import type { SessionParts } from '../session-parts.js';
import { ChunkFetcher } from '../swarm/chunk-fetcher.js';
import type { TransferOutcome, TransferRequest } from '../transfer-request.js';
import { TransferSession } from '../transfer-session.js';
import { ExportIngest } from './export-ingest.js';

const NAME = 'registry.example/team/app:1';
const SIGNAL = new AbortController().signal;
const noArchive: BlobSource = {
  kind: 'archive',
  name: 'none',
  has: () => Promise.resolve(false),
  open: () => Promise.reject(new Error('there is no archive')),
};

/** A peer whose runtime has something as NAME, and how it answers to `/images/download`. */
interface FakePeer {
  readonly holding: RuntimeHolding;
  readonly answer: () => Readable | Promise<Readable>;
  /** Whatever blob it is asked for; without it all of its streams are taken. */
  readonly blob?: () => Readable;
  /** What it announces as its repacked form of the image. */
  readonly derived?: Digest;
}

/** A lock holder with a real store, peers that have an image in their runtimes alone, and a registry that has it, too. */
class Holder {
  readonly exported: string[] = [];
  readonly quarantined: string[] = [];
  readonly reported: string[] = [];
  readonly failures: string[] = [];
  readonly blobsRead: Digest[] = [];
  readonly clock = new VirtualClock();
  bytes = 0;
  /** To RECEIVE_RATE_LIMIT's bucket. */
  paidBytes = 0;
  signsOfLife = 0;
  lease = new AbortController();
  readonly session: TransferSession;

  constructor(
    readonly files: TemporaryStore,
    image: ReturnType<typeof tinyImage>,
    identifiesBy: TransferRequest['identifiesBy'],
    peers: Readonly<Record<string, FakePeer>>,
  ) {
    const list = Object.keys(peers).map((node): Peer => {
      return {
        node,
        instance: node,
        platform: 'linux/amd64',
        protocol: 1,
        address: { host: '::1', port: 1 },
      };
    });
    const root = digestOf(image.manifestBytes);
    const blobsOf = ({ node }: Peer): Map<Digest, BlobAvailability> => {
      const derived = peers[node]?.derived;
      const size = image.manifestBytes.length;
      return new Map(derived ? [[root, { size, complete: true, derived: { digest: derived, size } }]] : []);
    };
    const peerService = {
      peers: () => list.filter(({ node }) => !this.quarantined.includes(node)),
      greeted: () => Promise.resolve(),
      inRuntime: ({ node }: Peer) => Promise.resolve(peers[node]?.holding),
      availability: (peer: Peer) => Promise.resolve(blobsOf(peer)),
      ask: (peer: Peer) => Promise.resolve({ blobs: blobsOf(peer), participants: [] }),
      openBlob: ({ node }: Peer) => {
        const stream = peers[node]?.blob?.();
        const size = image.manifestBytes.length;
        if (stream) return Promise.resolve({ start: 0, end: size, size, stream });
        return Promise.reject(new PeerError('full', 'all streams are taken', { status: 429 }));
      },
      openExport: async ({ node }: Peer) => {
        this.exported.push(node);
        return peers[node]?.answer();
      },
      report: ({ node }: Peer) => this.reported.push(node),
      quarantine: ({ node }: Peer) => this.quarantined.push(node),
    } as unknown as PeerService;
    const registry = {
      manifest: () => Promise.resolve(image.manifestBytes),
      blob: (_reference: unknown, digest: Digest) => {
        this.blobsRead.push(digest);
        const bytes = image.blobs.get(digest)!;
        const size = bytes.length;
        return Promise.resolve({ start: 0, end: size, size, stream: Readable.from([bytes]) });
      },
    } as unknown as RegistryClient;
    const metrics = {
      peerFetchFailed: (_image: string, peer: string, reason: string) =>
        this.failures.push(`${peer} ${reason}`),
    } as unknown as PreheatMetrics;
    const downlink = {
      take: (bytes: number) => {
        this.paidBytes += bytes;
        return Promise.resolve();
      },
    } as unknown as Downlink;
    const { clock } = this;
    const sweep = new PeerSweep(peerService);
    const ingest = new ExportIngest(files.store, new StoreInventory(files.layout));
    const parts: SessionParts = {
      self: new AgentIdentity({ nodeName: 'self', platform: TINY_PLATFORM }),
      clock,
      metrics,
      registry,
      sweep,
      peers: peerService,
      store: files.store,
      catalog: files.catalog,
      space: files.space,
      archiveIndex: {
        reportStale: () => Promise.resolve(),
        findByConfig: () => Promise.resolve(undefined),
      } as unknown as ArchiveIndex,
      archives: noArchive,
      relays: new SwarmSource(clock),
      downlink,
      downloader: new BlobDownloader(downlink, files.store),
      fetcher: new ChunkFetcher(peerService, downlink),
      flights: new Flights(),
      claims: new OriginClaims(),
      exports: new RuntimeExports(peerService, sweep, ingest, downlink, metrics, clock),
    };
    const request: TransferRequest = {
      image: NAME,
      reference: parseImageReference(NAME),
      platform: TINY_PLATFORM,
      native: true,
      digest: root,
      identifiesBy,
      isLoaded: () => false,
      claimKey: 'app here',
    };
    this.session = new TransferSession(request, parts, {
      onBytes: (count) => (this.bytes += count),
      onAlive: () => (this.signsOfLife += 1),
    });
  }

  attempt(holdsLease = true): Promise<TransferOutcome> {
    const lease = { signal: this.lease.signal, mayReadRegistry: () => true } as unknown as Lease;
    return this.whileTimePasses(this.session.attempt(holdsLease ? { lease } : {}, SIGNAL));
  }

  /** The disk is a real one, so that time has to go on while no timer is set, too. */
  private async whileTimePasses<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const settle = (): void => {
      settled = true;
    };
    work.then(settle, settle);
    const isSettled = (): boolean => settled;
    while (!isSettled()) await this.clock.advance(1000);
    return work;
  }
}

describe("A lock holder's session, where only runtimes of peers have the image", () => {
  const image = tinyImage(3);
  const root = digestOf(image.manifestBytes);
  const config = image.manifest.config.digest;
  const layers = image.manifest.layers.map(({ digest }) => digest);
  const classicTar = tarOf(dockerArchiveFiles(image, [NAME]));
  const send = (tar: Buffer) => () => Readable.from([tar]);
  const classic: FakePeer = { holding: { config }, answer: send(classicTar) };
  const containerd: FakePeer = {
    holding: { manifest: root },
    answer: send(tarOf(ociLayoutFiles(image, [NAME]))),
  };
  const drifted: FakePeer = {
    holding: { config: digestOf(Buffer.from('before the tag moved')) },
    answer: send(tarOf(dockerArchiveFiles(tinyImage(3), [NAME]))),
  };
  const earlierVersion: FakePeer = { ...classic, holding: {} };
  let files: TemporaryStore;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    files = await TemporaryStore.open();
  });
  afterEach(() => files.dispose());

  const holder = (identifiesBy: TransferRequest['identifiesBy'], peers: Record<string, FakePeer>): Holder =>
    new Holder(files, image, identifiesBy, peers);
  const isStored = async (digest: Digest): Promise<boolean> =>
    (await files.store.sizeOf(digest)) !== undefined;

  it('takes a classic export under a derived manifest where images go by their config', async () => {
    const node = holder('config', { one: classic, two: classic });
    const outcome = await node.attempt();
    const [entry] = files.catalog.list();
    expect(outcome).toEqual({ kind: 'complete', root: entry?.derived });
    expect(entry?.derived).toBeDefined();
    expect(node.exported).toHaveLength(1);
    // The config says what the export must be.
    expect(node.blobsRead).toEqual([config]);
    // All of it counts as progress, and against RECEIVE_RATE_LIMIT.
    expect(node.bytes).toBe(classicTar.length + image.config.length);
    expect(node.paidBytes).toBe(node.bytes);
    expect(node.session.progress).toMatchObject({ source: 'registry' });
    expect(node.session.progress.bytesDone).toBe(node.session.progress.bytesTotal);
  });

  it('takes the original blobs where an export brings them, before a classic one', async () => {
    const node = holder('config', { one: classic, two: containerd, three: classic });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(node.exported).toEqual(['two']);
    expect(node.blobsRead).toEqual([config]);
  });

  it("asks no classic Docker for a runtime that goes by the manifest: it takes the registry's blobs", async () => {
    const node = holder('manifest', { one: classic });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(node.exported).toEqual([]);
    expect(node.blobsRead.toSorted()).toEqual([config, ...layers].toSorted());
    expect(files.catalog.list()).toEqual([
      expect.not.objectContaining({ derived: expect.anything() as unknown }),
    ]);
  });

  it('drops a classic export of an earlier version where images go by the manifest', async () => {
    const node = holder('manifest', { one: earlierVersion });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(node.exported).toEqual(['one']);
    expect([node.quarantined, node.reported, node.failures]).toEqual([[], [], []]);
    expect(await Promise.all(image.layers.map((layer) => isStored(digestOf(layer))))).toEqual([
      false,
      false,
      false,
    ]);
    expect(new Set(node.blobsRead)).toEqual(new Set([config, ...layers]));
  });

  it('asks nobody whose runtime has another image under the name', async () => {
    const peers = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`node-${index}`, drifted]));
    const node = holder('config', peers);
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(node.exported).toEqual([]);
  });

  it('takes one export at most, and then what the registry has', async () => {
    const old: FakePeer = { ...drifted, holding: {} };
    const node = holder('config', { one: old, two: old, three: old });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(node.exported).toHaveLength(1);
    expect(new Set(node.blobsRead)).toEqual(new Set([config, ...layers]));
  });

  it('counts wrong bytes as corrupt, and leaves the peer alone for this image', async () => {
    const wrong = Buffer.from(classicTar);
    wrong[700] = (wrong[700] ?? 0) ^ 1;
    const node = holder('config', { liar: { ...classic, answer: send(wrong) } });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect([node.quarantined, node.reported, node.failures]).toEqual([['liar'], [], ['liar corrupt']]);
  });

  it('reports a connection that breaks, and goes on to the registry', async () => {
    const broken = (): Readable =>
      Readable.from(
        (async function* () {
          yield await Promise.resolve(classicTar.subarray(0, 5000));
          throw new PeerError('network', 'the peer stopped');
        })(),
      );
    const node = holder('config', { one: { ...classic, answer: broken }, two: drifted });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect([node.quarantined, node.reported, node.failures]).toEqual([[], ['one'], ['one network']]);
  });

  it('asks the next one when a peer refuses: nothing was staged', async () => {
    const full = (): never => {
      throw new PeerError('full', 'one export at a time', { status: 429 });
    };
    const node = holder('config', { one: { ...containerd, answer: full }, two: classic });
    expect((await node.attempt()).kind).toBe('complete');
    expect(node.exported).toEqual(['one', 'two']);
    expect(node.failures).toEqual(['one full']);
    expect(node.blobsRead).toEqual([config]);
  });

  it('asks no other peer when one kept it waiting for too long', async () => {
    const late = (): never => {
      throw new PeerError('timeout', 'no first byte');
    };
    const node = holder('config', { one: { ...containerd, answer: late }, two: classic });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(node.exported).toEqual(['one']);
  });

  it('blames nobody for a full disk of its own, and takes what fits', async () => {
    await files.dispose();
    const compressedBytes = [...image.blobs.values()].reduce((sum, { length }) => sum + length, 0);
    files = await TemporaryStore.open({ maxSizeBytes: compressedBytes + 100 });
    const node = holder('config', { one: classic });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(node.exported).toEqual([]);
    expect([node.quarantined, node.reported, node.failures]).toEqual([[], [], []]);
  });

  it('keeps what an export brings from being evicted while it comes', async () => {
    await files.dispose();
    files = await TemporaryStore.open({ maxSizeBytes: 40_000 });
    let others: Promise<unknown> = Promise.resolve();
    const slow = (): Readable =>
      Readable.from(
        (async function* () {
          yield classicTar.subarray(0, 9000);
          // Another image wants nearly all of the store, with two layers of the export in it.
          const digest = digestOf(Buffer.from('other'));
          others = files.space.pin('other', [{ digest, size: 30_000 }]).catch((error: unknown) => error);
          await others;
          yield classicTar.subarray(9000);
        })(),
      );
    const node = holder('config', { one: { ...classic, answer: slow } });
    expect((await node.attempt()).kind).toBe('complete');
    expect(node.failures).toEqual([]);
    expect(await others).toBeInstanceOf(PreheatFailure);
    for (const layer of image.layers) expect(await isStored(digestOf(layer))).toBe(true);
  });

  it('takes a peer that stages the image for alive', async () => {
    const staged = async (): Promise<Readable> => {
      while (node.signsOfLife < 5) await node.clock.sleep(1000);
      return Readable.from([classicTar]);
    };
    const node = holder('config', { one: { ...classic, answer: staged } });
    expect((await node.attempt()).kind).toBe('complete');
    const { signsOfLife } = node;
    await node.clock.advance(60_000);
    expect(node.signsOfLife).toBe(signsOfLife);
  });

  it('stops when the lock is lost', async () => {
    const lost = new PreheatFailure('lock_unavailable', 'the lock was lost');
    const node = holder('config', {
      one: {
        ...classic,
        answer: () => {
          node.lease.abort(lost);
          return Readable.from([classicTar]);
        },
      },
    });
    await expect(node.attempt()).rejects.toBe(lost);
    expect(files.catalog.list()).toEqual([]);
  });

  it('reads a manifest that was evicted before it was pinned as the manifest that it is', async () => {
    const node = holder('manifest', {});
    await files.store.putBytes(root, image.manifestBytes);
    expect(await node.attempt(false)).toEqual({ kind: 'no_source' });
    await new StoreInventory(files.layout).remove(root);
    expect(await node.attempt(false)).toEqual({ kind: 'no_source' });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect(new Set(node.blobsRead)).toEqual(new Set([config, ...layers]));
  });

  it('leaves a peer alone that sends another manifest than it was asked for', async () => {
    const blob = (): Readable => Readable.from([Buffer.alloc(image.manifestBytes.length)]);
    const derived = digestOf(Buffer.from('repacked'));
    const node = holder('manifest', { liar: { ...classic, blob, derived } });
    expect(await node.attempt()).toEqual({ kind: 'complete', root });
    expect([node.quarantined, node.failures]).toEqual([['liar'], ['liar corrupt']]);
    expect(node.exported).toEqual([]);
  });

  it('finds no source where the peer that announced a repacked form cannot give it', async () => {
    const derived = digestOf(Buffer.from('evicted meanwhile'));
    const node = holder('config', { one: { ...classic, derived } });
    await files.store.putBytes(root, image.manifestBytes);
    expect(await node.attempt(false)).toEqual({ kind: 'no_source' });
  });
});
