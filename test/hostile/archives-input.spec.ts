import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import { Logger } from '@nestjs/common';
import fc from 'fast-check';

import { entryData, tarEntries } from '../../src/common/tar/tar-entries.js';
import { StreamTarInput } from '../../src/common/tar/tar-input.js';
import { openArchive } from '../../src/transfer/archive/open-archive.js';
import { coded, fuzz } from '../support/fuzz.js';
import { mutatedBytes, mutatedJson } from '../support/mutations.js';
import { dockerArchiveFiles, ociLayoutFiles, tarOf, tinyImage } from '../support/tiny-image.js';

const FUZZ_MS = 300_000;
const { signal } = new AbortController();
const KIB = 1024;
const CANDIDATE = { name: 'app.tar', kind: 'tar', signature: '' } as const;

describe('Readers of archives that others made', () => {
  const image = tinyImage();

  beforeAll(() => {
    Logger.overrideLogger(false);
  });

  it(
    'read tars, or refuse them with a code, and no path leads out of them',
    async () => {
      const good = tarOf([
        ['manifest.json', '[]'],
        [`${'a/'.repeat(40)}b`, Buffer.alloc(2_000, 1)],
        ['empty', ''],
      ]);
      const anything = fc.uint8Array({ maxLength: 3 * KIB }).map((bytes) => Buffer.from(bytes));
      await fuzz(
        'tars',
        fc.oneof(
          { weight: 5, arbitrary: mutatedBytes(good).map(withRightSums) },
          mutatedBytes(good),
          anything,
        ),
        async (tar) => {
          await coded(async () => {
            const input = new StreamTarInput(Readable.from([tar]), 10 * KIB, signal);
            for await (const entry of tarEntries(input)) {
              expect(entry.path.split('/')).not.toContain('..');
              if (entry.type === 'file')
                for await (const part of entryData(input, entry.sizeBytes))
                  expect(part.length).toBeGreaterThan(0);
            }
          });
        },
      );
    },
    FUZZ_MS,
  );

  describe('of archives', () => {
    let directory: string;
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'archives-'));
    });
    afterAll(() => rm(directory, { recursive: true }));

    it.each([
      ['docker-archives', tarOf(dockerArchiveFiles(image, ['app:v1']))],
      ['OCI layouts', tarOf(ociLayoutFiles(image, ['app:v1']))],
    ])(
      'read damaged %s, or refuse them with a code',
      async (name, good) => {
        const damaged = mutatedBytes(good);
        const packed = fc.oneof(
          damaged.map(withRightSums),
          damaged.map((tar) => gzipSync(tar)),
          mutatedBytes(gzipSync(good)),
          mutatedBytes(zstdCompressSync(good)),
        );
        await fuzz(
          name,
          packed,
          async (bytes) => {
            await writeFile(join(directory, 'app.tar'), bytes);
            await coded(() => openArchive(directory, CANDIDATE, signal));
          },
          60,
        );
      },
      FUZZ_MS,
    );

    it.each([
      ['manifest.json', 'docker'],
      ['index.json', 'oci'],
    ])(
      'read archives with an odd %s, or refuse them with a code',
      async (name, form) => {
        const files =
          form === 'docker' ? dockerArchiveFiles(image, ['app:v1']) : ociLayoutFiles(image, ['app:v1']);
        const document: unknown = JSON.parse(files.find(([path]) => path === name)![1].toString());
        await fuzz(
          name,
          mutatedJson(document),
          async (text) => {
            const changed = files.map(([path, content]): [string, Buffer | string] => [
              path,
              path === name ? text : content,
            ]);
            await writeFile(join(directory, 'app.tar'), tarOf(changed));
            await coded(() => openArchive(directory, CANDIDATE, signal));
          },
          100,
        );
      },
      FUZZ_MS,
    );
  });
});

/** So that mutations get past the checksums. */
function withRightSums(tar: Buffer): Buffer {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
    const block = tar.subarray(at, at + 512);
    const sum = block.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return tar;
}
