import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';

import { Logger } from '@nestjs/common';
import fc from 'fast-check';

import type { AppConfig } from '../../src/config/app-config.js';
import { chunkCountOf, chunkRange } from '../../src/domain/chunk-map.js';
import { digestOf, hexOf } from '../../src/domain/digest.js';
import { FileLockStore } from '../../src/lock/file/file-lock-store.js';
import { DirectoryRuntime } from '../../src/runtime/directory/directory-runtime.js';
import { formatCatalog } from '../../src/store/catalog-image.js';
import { formatChunkHashes } from '../../src/store/chunk-hashes.js';
import { coded, fuzz } from '../support/fuzz.js';
import { InstantClock } from '../support/instant-clock.js';
import { mutatedBytes, mutatedJson } from '../support/mutations.js';
import { TemporaryStore } from '../support/temporary-store.js';
import { ociLayoutFiles, TINY_PLATFORM, tinyImage } from '../support/tiny-image.js';

const FUZZ_MS = 300_000;
const { signal } = new AbortController();

/** What lies at a path instead of the file that an agent left there. */
type Left =
  { readonly as: 'file'; readonly bytes: string | Buffer } | { readonly as: 'folder' | 'FIFO' | 'loop' };

function left(bytes: fc.Arbitrary<string | Buffer>): fc.Arbitrary<Left> {
  return fc.oneof(
    { weight: 12, arbitrary: bytes.map((of): Left => ({ as: 'file', bytes: of })) },
    fc.constantFrom<Left>({ as: 'folder' }, { as: 'FIFO' }, { as: 'loop' }),
  );
}

async function leave(path: string, what: Left): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { recursive: true, force: true });
  if (what.as === 'file') await writeFile(path, what.bytes);
  else if (what.as === 'folder') await mkdir(join(path, 'nested'), { recursive: true });
  else if (what.as === 'loop') await symlink(path, path);
  else await promisify(execFile)('mkfifo', [path]);
}

describe('Readers of what an earlier process, or a tampering one, left on the disk', () => {
  let directory: string;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'own-files-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it(
    'open a store with odd files in it, and still take and give right bytes, or refuse it with a code',
    async () => {
      const whole = Buffer.from('a whole blob');
      const bytes = randomBytes(1024 * 1024 + 100);
      const [digest, half] = [digestOf(whole), digestOf(bytes)];
      const image = {
        image: 'docker.io/library/app:v1',
        platform: 'linux/amd64',
        root: digest,
        blobs: [{ digest, size: whole.length }],
        mediaType: 'm',
        size: whole.length,
        lastUsedMs: 1,
      };
      const hashes = (blob: Buffer): string => {
        const chunks = Array.from({ length: chunkCountOf(blob.length) }, (_, index) => {
          const { start, length } = chunkRange(blob.length, index);
          return hexOf(digestOf(blob.subarray(start, start + length)));
        });
        return formatChunkHashes(blob.length, chunks);
      };
      const usual: Readonly<Record<string, string | Buffer>> = {
        [`blobs/sha256/${hexOf(digest)}`]: whole,
        [`chunks/${hexOf(digest)}.json`]: hashes(whole),
        [`partial/${hexOf(half)}`]: bytes,
        [`partial/${hexOf(half)}.json`]: hashes(bytes),
        'catalog.json': formatCatalog([image]),
        'records.json': JSON.stringify({ key: '{"v":1}' }),
        'peer-key': randomBytes(32),
        '.lock': JSON.stringify({ pid: 2 ** 30, started: 'boot/5' }),
      };
      const odd = fc.constantFrom(...Object.entries(usual)).chain(([path, content]) => {
        const changed = Buffer.isBuffer(content)
          ? mutatedBytes(content.subarray(0, 200))
          : mutatedJson(JSON.parse(content));
        return left(changed).map((what) => ({ path, what }));
      });
      await fuzz(
        'files of the store',
        fc.array(odd, { minLength: 1, maxLength: 3 }),
        async (files) => {
          const root = await mkdtemp(join(directory, 'store-'));
          for (const [path, content] of Object.entries(usual))
            await leave(join(root, path), { as: 'file', bytes: content });
          for (const { path, what } of files) await leave(join(root, path), what);

          const opened = await coded(() => TemporaryStore.open({ directory: root }));
          if (!opened) return;
          for (const { platform } of opened.catalog.list()) expect(platform).not.toBe('');
          await opened.records.load();
          const known = await opened.store.sizeOf(digest);
          if (known !== undefined) await opened.store.readBytes(digest, known);
          await opened.store.describe([digest, half]);
          const partial = await opened.store.openPartial(half, bytes.length);
          await partial.write(
            partial.prefixBytes,
            Readable.from([bytes.subarray(partial.prefixBytes)]),
            signal,
          );
          await partial.commit();
          expect((await opened.store.readBytes(half, bytes.length))?.equals(bytes)).toBe(true);
          await opened.dispose();
        },
        20,
      );
    },
    FUZZ_MS,
  );

  it(
    'read a lock file and its mutex, or say that the lock is not to be had',
    async () => {
      const path = join(directory, 'lock.json');
      const records = { v: 1, records: { key: '{"v":1}', other: '' } };
      const mutex = Buffer.from(`${2 ** 30} 5 0123456789abcdef\n`);
      const number = fc.oneof(fc.nat(), fc.constantFrom(0, process.pid, 2 ** 31, 2 ** 53));
      const line = fc
        .record({ pid: number, started: number })
        .map(({ pid, started }) => `${pid} ${started} 0123456789abcdef\n`);
      await fuzz(
        'lock files',
        fc.record({
          file: left(mutatedJson(records)),
          mutex: fc.option(left(fc.oneof(mutatedBytes(mutex), line))),
        }),
        async (found) => {
          await leave(path, found.file);
          await rm(`${path}.mutex`, { recursive: true, force: true });
          if (found.mutex) await leave(`${path}.mutex`, found.mutex);
          const locks = new FileLockStore(path, new InstantClock());
          const known = await coded(() => locks.read('latest', signal));
          const swapped = await coded(() => locks.compareAndSwap('key', known?.get('key'), 'next', signal));
          if (swapped === true) expect((await locks.read('latest', signal)).get('key')).toBe('next');
        },
        30,
      );
    },
    FUZZ_MS,
  );

  it(
    'list the images of a directory, or refuse it with a code',
    async () => {
      const files = new Map(ociLayoutFiles(tinyImage(), ['docker.io/library/app:v1']));
      const index: unknown = JSON.parse(String(files.get('index.json')));
      for (const [path, content] of files) await leave(join(directory, path), { as: 'file', bytes: content });
      const config = { platform: TINY_PLATFORM, runtime: { directory } } as AppConfig;
      const manifests = [...files.keys()].filter((path) => path.startsWith('blobs/'));
      const odd = fc.oneof(
        left(mutatedJson(index)).map((what) => ({ path: 'index.json', what })),
        fc
          .constantFrom(...manifests)
          .chain((path) =>
            left(mutatedBytes(files.get(path) ?? Buffer.alloc(0))).map((what) => ({ path, what })),
          ),
      );
      await fuzz(
        'layouts',
        odd,
        async ({ path, what }) => {
          await leave(join(directory, path), what);
          await coded(() => new DirectoryRuntime(config).list(signal));
          await leave(join(directory, path), { as: 'file', bytes: files.get(path) ?? '' });
        },
        80,
      );
      expect((await new DirectoryRuntime(config).list(signal)).identifiesBy).toBe('manifest');
    },
    FUZZ_MS,
  );
});
