import { randomBytes } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Digest } from '../../src/domain/digest.js';
import { formatPlatform, platformOfProcess } from '../../src/domain/platform.js';
import { recordKeyOf } from '../../src/lock/image-key.js';
import { encodeRecord, type LockRecord } from '../../src/lock/record.js';
import { Cleanup } from '../support/cleanup.js';
import { addImage } from '../support/demo-images.js';
import { idWhenReady } from '../support/directory-cluster.js';
import { ManInTheMiddle } from '../support/man-in-the-middle.js';
import { keyFor } from '../support/session-client.js';
import { tally } from '../support/tally.js';
import { startTarget, type Target } from '../support/target.js';

const SETUP_MS = 180_000;
const READY_MS = 120_000;
const KIB = 1024;

describe('Agents whose records somebody edits', () => {
  const cleanup = new Cleanup();
  const platform = formatPlatform(platformOfProcess(process.platform, process.arch));
  let target: Target;

  beforeAll(async () => {
    target = await startTarget(cleanup, 2);
  }, SETUP_MS);

  afterAll(() => cleanup.run(), 60_000);

  it(
    'dial nobody for the sake of a record, with or without a right MAC, whom discovery does not list',
    async () => {
      const lurker = await cleanup.track(
        ManInTheMiddle.start(() => Promise.resolve({ status: 200, headers: {}, body: {} })),
        (rogue) => rogue.stop(),
      );
      const [forged, sealed] = [await newImage('forged'), await newImage('sealed')];
      const key = await recordMacKey();
      const record = (image: string, macKey: Buffer): [string, string] => {
        const holder = {
          node: 'rogue',
          instance: '0'.repeat(32),
          address: `${lurker.address.host}:${lurker.address.port}`,
          term: 1,
          renewals: 1,
        };
        const name = recordKeyOf({ image, platform });
        return [name, encodeRecord(name, { v: 1, image, platform, holder }, macKey)];
      };
      const added = Object.fromEntries([record(forged, randomBytes(32)), record(sealed, key)]);
      await editRecords((records) => ({ ...records, ...added }));
      await target.cluster.list(target.image, forged, sealed);
      // Nobody but an agent could have written that one: it is waited for as long as it may be renewed.
      await idWhenReady(target.agents, forged, READY_MS);
      expect(lurker.seen).toEqual([]);
      for (const agent of target.agents)
        expect((await agent.images()).find(({ image }) => image === sealed)?.state).not.toBe('ready');
      expect((await target.agents[0].log()).includes('MAC')).toBe(true);
      await target.cluster.list(target.image);
    },
    READY_MS,
  );

  it(
    'take no digest from a record that nobody with the key has made for that very image',
    async () => {
      const key = await recordMacKey();
      const forge = async (name: string, macKey: Buffer | undefined, keyOfRecord?: string) => {
        const { image, before, now } = await newMovedImage(name);
        const recordKey = recordKeyOf({ image, platform });
        const resolvedAt = Math.floor(Date.now() / 1000);
        const record: LockRecord = { v: 1, image, platform, digest: before, origin: 'registry', resolvedAt };
        return { image, now, recordKey, text: encodeRecord(keyOfRecord ?? recordKey, record, macKey) };
      };
      const forgeries = [
        await forge('unsigned', undefined),
        await forge('wrong-key', randomBytes(32)),
        await forge('other-image', key, recordKeyOf({ image: target.image, platform })),
      ];
      const texts = Object.fromEntries(forgeries.map(({ recordKey, text }) => [recordKey, text]));
      tally('bad inputs tried', forgeries.length);
      await editRecords((records) => ({ ...records, ...texts }));
      await target.cluster.list(target.image, ...forgeries.map(({ image }) => image));
      for (const { image, now } of forgeries)
        for (const agent of target.agents)
          expect((await agent.until(image, 'ready', READY_MS)).digest).toBe(now);
    },
    READY_MS,
  );

  it(
    'take no digest from a record that was right once, and was put back',
    async () => {
      const { image, move } = await newImageToMove('replayed');
      await target.cluster.list(target.image, image);
      const before = await digestOnAll(image);
      const recordKey = recordKeyOf({
        image,
        platform: platform,
      });
      let old = '';
      await editRecords(({ [recordKey]: text = '', ...others }) => {
        old = text;
        return others;
      });
      const now = await move();
      expect(before).not.toBe(now);
      // For a moment agents go by the record as they read it last.
      while (!(await digestsOf(image)).every((digest) => digest === now)) await removeFromRuntimes(image);

      tally('bad inputs tried');
      await editRecords((records) => ({ ...records, [recordKey]: old }));
      for (let isSeen = false; !isSeen;) {
        await removeFromRuntimes(image);
        expect(await digestOnAll(image)).toBe(now);
        const logs = await Promise.all(target.agents.map((agent) => agent.log()));
        isSeen = logs.some((log) => log.includes('somebody has put it back'));
      }
      await target.cluster.list(target.image);
    },
    READY_MS,
  );

  async function newImage(name: string): Promise<string> {
    await addImage(target.registry, `team/${name}`, 200 * KIB);
    return `${target.registry.host}/team/${name}:1.0`;
  }

  /** What whoever may edit the records can do. */
  async function editRecords(
    change: (records: Readonly<Record<string, string>>) => Readonly<Record<string, string>>,
  ): Promise<void> {
    const file = join(target.cluster.directory, 'lock.json');
    const { records } = JSON.parse(await readFile(file, 'utf8')) as { records: Record<string, string> };
    await writeFile(file, JSON.stringify({ v: 1, records: change(records) }));
  }

  /** An image, and what pushes another one under its tag. */
  async function newImageToMove(name: string): Promise<{ image: string; move: () => Promise<Digest> }> {
    const image = await newImage(name);
    const move = async (): Promise<Digest> => {
      await addImage(target.registry, `team/${name}`, 220 * KIB);
      return meaningOf(name);
    };
    return { image, move };
  }

  /** An image whose tag has moved; what it meant before can still be had by its digest. */
  async function newMovedImage(name: string): Promise<{ image: string; before: Digest; now: Digest }> {
    const { image, move } = await newImageToMove(name);
    return { image, before: await meaningOf(name), now: await move() };
  }

  async function meaningOf(name: string): Promise<Digest> {
    const url = `${target.registry.url}/v2/team/${name}/manifests/1.0`;
    const response = await fetch(url, { method: 'HEAD', headers: { accept: '*/*' } });
    return response.headers.get('docker-content-digest') as Digest;
  }

  /** The digest of `image`, which must be one and the same on all nodes. */
  async function digestOnAll(image: string): Promise<string | undefined> {
    await idWhenReady(target.agents, image, READY_MS);
    const digests = await digestsOf(image);
    expect(new Set(digests).size).toBe(1);
    return digests[0];
  }

  async function digestsOf(image: string): Promise<(string | undefined)[]> {
    const found = await Promise.all(target.agents.map((agent) => agent.until(image, 'ready', READY_MS)));
    return found.map(({ digest }) => digest);
  }

  /** As prunes do; waits until all agents have got `image` again. */
  async function removeFromRuntimes(image: string): Promise<void> {
    for (const agent of target.agents) {
      const { since } = await agent.until(image, 'ready', READY_MS);
      await rm(join(agent.storeDirectory, 'runtime', 'index.json'));
      await agent.wait('ready again', READY_MS, async () =>
        (await agent.images()).some(
          (status) => status.image === image && status.state === 'ready' && status.since !== since,
        )
          ? true
          : undefined,
      );
    }
  }

  async function recordMacKey(): Promise<Buffer> {
    return keyFor('records', await readFile(join(target.cluster.directory, 'peer-key')));
  }
});
