import fc from 'fast-check';
import { pack } from 'tar-stream';

import { endedTar, paxRecords, tarPart, withRightSums } from '../../../test/support/extended-tars.js';
import { InvalidInputError } from '../../domain/errors.js';
import { entryData, MAX_TAR_HEADERS, tarEntries, type TarEntry } from './tar-entries.js';
import { encodeTarHeader, tarPaddingOf } from './tar-header.js';
import { readBytes, StreamTarInput, type TarInput } from './tar-input.js';

type Header = Parameters<ReturnType<typeof pack>['entry']>[0];

const NEVER = new AbortController().signal;

async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

function inputOf(bytes: Uint8Array, chunkSize = 700, maxBytes = Number.MAX_SAFE_INTEGER): TarInput {
  return new StreamTarInput(chunksOf(bytes, chunkSize), maxBytes, NEVER);
}

async function entriesOf(input: TarInput): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  for await (const entry of tarEntries(input)) entries.push(entry);
  return entries;
}

/** What another implementation writes. */
async function packed(files: readonly { header: Header; content?: Buffer }[]): Promise<Buffer> {
  const tar = pack();
  for (const { header, content } of files)
    tar.entry({ mtime: new Date(0), ...header }, content ?? Buffer.alloc(0));
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function file(name: string, content: Buffer): Buffer {
  return Buffer.concat([
    encodeTarHeader(name, content.length),
    content,
    Buffer.alloc(tarPaddingOf(content.length)),
  ]);
}

/** A PAX header of its own, or for all entries after it. */
function pax(letter: 'x' | 'g', records: readonly (readonly [string, string])[]): Buffer {
  return tarPart(letter, 'pax', paxRecords(records));
}

const END = Buffer.alloc(1024);
const component = fc.stringMatching(/^[a-zA-Z0-9é_-]{1,60}$/);
const path = fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));

describe('tarEntries', () => {
  it('reads what tar-stream writes, long and non-ASCII names among it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.record({ name: path, content: fc.uint8Array({ maxLength: 2000 }) }), {
          selector: ({ name }) => name,
          maxLength: 6,
        }),
        fc.integer({ min: 1, max: 3000 }),
        async (files, chunkSize) => {
          const tar = await packed(
            files.map(({ name, content }) => ({ header: { name }, content: Buffer.from(content) })),
          );
          const input = inputOf(tar, chunkSize);
          const read: { name: string; content: Buffer }[] = [];
          for await (const entry of tarEntries(input)) {
            if (entry.type !== 'file') throw new Error(`unexpected ${entry.type}`);
            const parts: Buffer[] = [];
            for await (const part of entryData(input, entry.sizeBytes)) parts.push(part);
            read.push({ name: entry.path, content: Buffer.concat(parts) });
          }
          expect(read).toEqual(files.map(({ name, content }) => ({ name, content: Buffer.from(content) })));
        },
      ),
    );
  });

  it('skips data that nobody takes, and tells where it is', async () => {
    const tar = Buffer.concat([file('a', Buffer.alloc(513)), file('b', Buffer.from('x')), END]);
    expect(await entriesOf(inputOf(tar))).toEqual([
      { type: 'file', path: 'a', sizeBytes: 513, offset: 512 },
      { type: 'file', path: 'b', sizeBytes: 1, offset: 512 + 1024 + 512 },
    ]);
  });

  it('resolves links inside the archive', async () => {
    const tar = await packed([
      { header: { name: 'one/layer.tar', type: 'symlink', linkname: '../two/layer.tar' } },
      { header: { name: './dir/', type: 'directory' } },
      { header: { name: 'hard', type: 'link', linkname: 'two/layer.tar' } },
    ]);
    expect(await entriesOf(inputOf(tar))).toEqual([
      { type: 'symlink', path: 'one/layer.tar', target: 'two/layer.tar' },
      { type: 'directory', path: 'dir' },
      { type: 'hardlink', path: 'hard', target: 'two/layer.tar' },
    ]);
  });

  it.each<[string, Header]>([
    ['climbs out', { name: '../evil' }],
    ['climbs out midway', { name: 'a/../../evil' }],
    ['is absolute', { name: '/etc/passwd' }],
    ['is a link out', { name: 'a/link', type: 'symlink', linkname: '../../etc/passwd' }],
    ['is an absolute link', { name: 'link', type: 'symlink', linkname: '/etc/passwd' }],
    ['is a hard link out', { name: 'a/link', type: 'link', linkname: '../etc/passwd' }],
    ['is a device', { name: 'null', type: 'character-device', devmajor: 1, devminor: 3 }],
    ['is a FIFO', { name: 'fifo', type: 'fifo' }],
  ])('refuses an entry that %s', async (_why, header) => {
    await expect(entriesOf(inputOf(await packed([{ header }])))).rejects.toThrow(InvalidInputError);
  });

  it.each<[string, readonly Buffer[]]>([
    ['a global header names the path of', [pax('g', [['path', 'b']])]],
    ['a global header gives the size of', [pax('g', [['size', '1']])]],
    ['two PAX headers describe', [pax('x', [['path', 'b']]), pax('x', [['size', '1']])]],
    ['PAX and GNU headers name', [pax('x', [['path', 'b']]), tarPart('L', 'long', 'c\0')]],
    ['a global header parts from its own', [pax('x', [['path', 'b']]), pax('g', [['comment', 'c']])]],
    ['a PAX header calls sparse', [pax('x', [['GNU.sparse.size', '5']])]],
    ['a PAX header makes a directory, though it has data,', [pax('x', [['path', 'b/']])]],
  ])('refuses an entry that %s: readers differ in what it is', async (_what, headers) => {
    const tar = endedTar([...headers, tarPart('0', 'a', 'x')]);
    await expect(entriesOf(inputOf(tar))).rejects.toThrow(InvalidInputError);
  });

  it('takes the plain header’s name where a PAX header takes its own back, and leaves out comments', async () => {
    const headers = [pax('g', [['comment', 'of git']]), pax('x', [['path', '']])];
    const tar = endedTar([...headers, tarPart('0', 'a', 'x')]);
    expect(await entriesOf(inputOf(tar))).toMatchObject([{ type: 'file', path: 'a', sizeBytes: 1 }]);
  });

  it('lets the last name of an old tar’s entry say whether it is a directory', async () => {
    const tar = endedTar([tarPart('L', 'long', 'b\0'), tarPart('0', 'a/', 'x'), tarPart('0', 'c/', '')]);
    expect(await entriesOf(inputOf(tar))).toMatchObject([
      { type: 'file', path: 'b', sizeBytes: 1 },
      { type: 'directory', path: 'c' },
    ]);
  });

  it('refuses climbing names in PAX headers too', async () => {
    const name = `${'a/'.repeat(120)}../é`;
    await expect(entriesOf(inputOf(await packed([{ header: { name } }])))).rejects.toThrow(/is named/);
  });

  it('refuses a size beyond the end, at any length of the cut', async () => {
    const tar = Buffer.concat([file('a', Buffer.alloc(1000, 1)), file('b', Buffer.alloc(10, 2))]);
    for (const length of [1, 511, 513, 1500, 1600, tar.length - 511, tar.length - 1]) {
      await expect(entriesOf(inputOf(tar.subarray(0, length)))).rejects.toThrow(/cut short|inside a header/);
    }
    await expect(entriesOf(inputOf(encodeTarHeader('huge', 2 ** 50)))).rejects.toThrow(/cut short/);
  });

  it('refuses endless entries without keeping them', async () => {
    const one = encodeTarHeader('same', 0);
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) yield await Promise.resolve(one);
    }
    let count = 0;
    const read = async (): Promise<void> => {
      for await (const entry of tarEntries(new StreamTarInput(endless(), Number.MAX_SAFE_INTEGER, NEVER)))
        count += entry.path.length / 4;
    };
    await expect(read()).rejects.toThrow(/more than/);
    expect(count).toBe(MAX_TAR_HEADERS);
  });

  it('refuses a huge PAX header before reading it', async () => {
    const header = encodeTarHeader('pax', 2 ** 30);
    const typed = Buffer.from(header);
    typed.write('x', 156, 'latin1');
    const checksum = typed.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 32 : byte), 0);
    typed.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    await expect(entriesOf(inputOf(typed))).rejects.toThrow(/too long/);
  });

  it('stops at the length it was given', async () => {
    const tar = Buffer.concat([file('a', Buffer.alloc(100_000)), END]);
    await expect(entriesOf(inputOf(tar, 700, 50_000))).rejects.toThrow(/longer than 50000/);
  });

  it('never does anything but refuse or read, whatever the bytes', async () => {
    const good = await packed([
      { header: { name: `${'long/'.repeat(30)}é` }, content: Buffer.from('content') },
      { header: { name: 'link', type: 'symlink', linkname: 'a' } },
    ]);
    const mutation = fc.record({ at: fc.nat(good.length - 1), byte: fc.integer({ min: 0, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(mutation, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (mutations, fixSums) => {
          const bytes = Buffer.from(good);
          for (const { at, byte } of mutations) bytes[at] = byte;
          if (fixSums) withRightSums(bytes);
          try {
            for (const entry of await entriesOf(inputOf(bytes))) {
              for (const name of [entry.path, 'target' in entry ? entry.target : '']) {
                expect(name.startsWith('/')).toBe(false);
                expect(name.split('/')).not.toContain('..');
              }
            }
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidInputError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('holds back when nobody asks: reads no further than it must', async () => {
    let given = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const chunk of chunksOf(Buffer.concat([file('a', Buffer.alloc(100_000)), END]), 512)) {
        given += chunk.length;
        yield chunk;
      }
    }
    const input = new StreamTarInput(counted(), Number.MAX_SAFE_INTEGER, NEVER);
    const entries = tarEntries(input);
    await entries.next();
    expect(given).toBe(512);
    await readBytes(input, 1000);
    expect(given).toBe(512 + 1024);
    await entries.return();
  });
});
