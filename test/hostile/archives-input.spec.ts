import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';

import { Logger } from '@nestjs/common';
import fc from 'fast-check';
import { extract } from 'tar-stream';

import { entryData, tarEntries } from '../../src/common/tar/tar-entries.js';
import { tarPath } from '../../src/common/tar/tar-path.js';
import { StreamTarInput } from '../../src/common/tar/tar-input.js';
import { openArchive } from '../../src/transfer/archive/open-archive.js';
import { endedTar, paxRecords, type TarLetter, tarPart, withRightSums } from '../support/extended-tars.js';
import { coded, fuzz, textOf } from '../support/fuzz.js';
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

  it(
    'read extended headers, or refuse them with a code, and as another reader does',
    async () => {
      const long = `${'long/'.repeat(60)}é`;
      const samples = [
        [
          tarPart(
            'x',
            'pax',
            paxRecords([
              ['path', long],
              ['mtime', '1.5'],
              ['size', '5'],
            ]),
          ),
          tarPart('0', 'a', 'hello'),
        ],
        [tarPart('x', 'pax', paxRecords([['linkpath', `b/${long}`]])), tarPart('2', 'a', '')],
        [tarPart('g', 'global', paxRecords([['comment', 'c'.repeat(40)]])), tarPart('0', 'a', 'hello')],
        [
          tarPart('L', '././@LongLink', `${long}\0`),
          tarPart('K', '././@LongLink', `${long}\0`),
          tarPart('2', 'a', ''),
        ],
        [tarPart('S', 'sparse', 'hello'), tarPart('0', 'a', 'hello')],
      ].map(endedTar);
      const value = fc.oneof(
        textOf('../', '/', 'a', '\0', '\n', '='),
        fc.constantFrom('c', 'c/d', 'c/', '', '0', '5', '-1', '9'.repeat(16)),
      );
      const key = fc.constantFrom('path', 'linkpath', 'size', 'GNU.sparse.major', 'comment', '', '=', '\n');
      const records = fc.array(fc.tuple(key, value), { maxLength: 4 }).map(paxRecords);
      const letter = fc.constantFrom<TarLetter>('0', '0', '0', 'x', 'x', 'g', 'g', 'L', 'K', '2', '5', 'S');
      const part = fc
        .tuple(letter, fc.constantFrom('a', 'b/', '././@LongLink'), fc.oneof(records, value.map(Buffer.from)))
        .map((of) => tarPart(...of));
      const anyOrder = fc.array(part, { maxLength: 6 }).map(endedTar);
      await fuzz(
        'extended headers',
        fc.oneof(
          anyOrder,
          fc.constantFrom(...samples).chain((tar) => mutatedBytes(tar).map(withRightSums)),
        ),
        async (tar) => {
          const files = await coded(() => filesOf(tar));
          const others = await filesAsOthersReadThem(tar);
          // What we take, nobody may take for something else; the other reader goes on behind the end, where we stop.
          if (files && others) expect(others.slice(0, files.length)).toEqual(files);
        },
        700,
      );
      expect(await filesOf(samples[0] ?? Buffer.alloc(0))).toEqual([[long, 5]]);
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

type ReadFile = readonly [path: string, sizeBytes: number];

async function filesOf(tar: Buffer): Promise<ReadFile[]> {
  const files: ReadFile[] = [];
  const input = new StreamTarInput(Readable.from([tar]), 64 * KIB, signal);
  for await (const entry of tarEntries(input)) {
    expect(entry.path.split('/')).not.toContain('..');
    if (entry.type === 'file') files.push([entry.path, entry.sizeBytes]);
  }
  return files;
}

/** @returns undefined where the other reader refuses the tar */
async function filesAsOthersReadThem(tar: Buffer): Promise<ReadFile[] | undefined> {
  const files: ReadFile[] = [];
  const entries = extract();
  entries.on('error', () => undefined).end(tar);
  try {
    for await (const entry of entries) {
      const { name, size, type } = entry.header;
      // A name with a slash at its end is a directory's, to Go's reader and to ours.
      if ((type === 'file' || type === 'contiguous-file') && !name.endsWith('/'))
        files.push([tarPath(name), size]);
      entry.resume();
    }
    return files;
  } catch {
    return undefined;
  }
}
