import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { type Digest, digestOf, hexOf } from '../domain/digest.js';
import { BlobBusyError } from './blob-busy-error.js';
import { formatChunkHashes } from './chunk-hashes.js';

const MIB = 1024 * 1024;
const signal = new AbortController().signal;

describe('BlobStore', () => {
  let files: TemporaryStore;

  beforeEach(async () => {
    files = await TemporaryStore.open();
  });
  afterEach(() => files.dispose());

  async function temporaries(): Promise<string[]> {
    return (await readdir(files.layout.partials))
      .concat(await readdir(files.layout.root))
      .filter((name) => name.endsWith('.tmp'));
  }

  it('keeps its folder to itself', async () => {
    expect((await stat(files.directory)).mode & 0o777).toBe(0o700);
    expect((await readdir(files.directory)).toSorted()).toEqual([
      '.lock',
      'blobs',
      'catalog.json',
      'chunks',
      'index.json',
      'oci-layout',
      'partial',
    ]);
  });

  it('removes what is no file where only files of its own belong, and goes nowhere through a link', async () => {
    const elsewhere = join(files.directory, 'elsewhere');
    await writeFile(elsewhere, 'kept');
    const bytes = randomBytes(10);
    const { blobs, partials, chunks, catalogFile } = files.layout;
    await symlink(elsewhere, join(partials, hexOf(digestOf(bytes))));
    await writeFile(join(partials, `${hexOf(digestOf(bytes))}.json`), formatChunkHashes(10, [undefined]));
    await mkdir(join(blobs, hexOf(digestOf(bytes)), 'nested'), { recursive: true });
    await promisify(execFile)('mkfifo', [join(chunks, `${hexOf(digestOf(bytes))}.json`)]);
    await rm(catalogFile);
    await mkdir(catalogFile);

    files = await files.reopen();
    expect(await files.store.sizeOf(digestOf(bytes))).toBeUndefined();
    const partial = await files.store.openPartial(digestOf(bytes), bytes.length);
    await partial.write(0, Readable.from([bytes]), signal);
    await partial.commit();
    expect(await files.store.readBytes(digestOf(bytes), 10)).toEqual(bytes);
    expect(await readFile(elsewhere, 'utf8')).toBe('kept');
  });

  it('stores small blobs whole and tells their size and chunk hashes', async () => {
    const bytes = Buffer.from('{"schemaVersion":2}');
    const digest = digestOf(bytes);
    expect(await files.store.sizeOf(digest)).toBeUndefined();
    expect(await files.store.readBytes(digest, 100)).toBeUndefined();
    expect(await files.store.openBlob(digest)).toBeUndefined();

    await files.store.putBytes(digest, bytes);
    await files.store.putBytes(digest, bytes);

    expect(await files.store.sizeOf(digest)).toBe(bytes.length);
    expect(await files.store.readBytes(digest, bytes.length)).toEqual(bytes);
    expect(await files.store.describe([digest, digestOf(Buffer.from('none'))])).toEqual(
      new Map([[digest, { size: bytes.length, complete: true, chunkHashes: [hexOf(digest)] }]]),
    );
    expect(await temporaries()).toEqual([]);
  });

  it('refuses bytes that are not what their digest says, and blobs longer than asked for', async () => {
    const bytes = Buffer.from('content');
    await expect(files.store.putBytes(digestOf(Buffer.from('other')), bytes)).rejects.toMatchObject({
      reason: 'corrupt',
    });
    await files.store.putBytes(digestOf(bytes), bytes);
    await expect(files.store.readBytes(digestOf(bytes), bytes.length - 1)).rejects.toMatchObject({
      reason: 'corrupt',
    });
    expect(await readdir(files.layout.blobs)).toEqual([hexOf(digestOf(bytes))]);
  });

  it('lets no name but a digest become a path', async () => {
    const evil = 'sha256:../../../../etc/passwd' as Digest;
    await expect(files.store.sizeOf(evil)).rejects.toThrow('is not a digest');
    await expect(files.store.openBlob(evil)).rejects.toThrow('is not a digest');
    await expect(files.store.openPartial(evil, 1)).rejects.toThrow('is not a digest');
    await expect(files.store.putBytes(evil, Buffer.alloc(0))).rejects.toThrow();
  });

  it('ingests a stream whose digest is known at its end only if that is wanted', async () => {
    const bytes = randomBytes(3 * MIB + 17);
    const digest = digestOf(bytes);
    const pieces = () => Readable.from([bytes.subarray(0, 50_000), bytes.subarray(50_000)]);
    expect(await files.store.ingest(pieces(), () => false, bytes.length, signal)).toBeUndefined();
    expect(await files.store.sizeOf(digest)).toBeUndefined();
    await expect(files.store.ingest(pieces(), () => true, bytes.length - 1, signal)).rejects.toMatchObject({
      reason: 'corrupt',
    });

    const stored = await files.store.ingest(pieces(), (found) => found === digest, bytes.length, signal);

    expect(stored).toEqual({ digest, size: bytes.length });
    expect(digestOf((await files.store.readBytes(digest, bytes.length))!)).toBe(digest);
    const described = (await files.store.describe([digest])).get(digest);
    expect(described?.chunkHashes).toEqual(
      [0, 1, 2, 3].map((index) => hexOf(digestOf(bytes.subarray(index * MIB, (index + 1) * MIB)))),
    );
    expect(await readdir(files.layout.partials)).toEqual([]);
  });

  it('stops ingesting a silent stream when told to, and keeps nothing of it', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    async function* silent() {
      yield Buffer.from('beginning');
      controller.abort(reason);
      await new Promise<never>(() => undefined);
    }
    await expect(files.store.ingest(silent(), () => true, MIB, controller.signal)).rejects.toBe(reason);
    expect(await readdir(files.layout.partials)).toEqual([]);
  });

  it('lets one caller at a time write a blob', async () => {
    const bytes = randomBytes(100);
    const digest = digestOf(bytes);
    const first = await files.store.openPartial(digest, bytes.length);
    await expect(files.store.openPartial(digest, bytes.length)).rejects.toThrow(BlobBusyError);
    await first.close();
    const second = await files.store.openPartial(digest, bytes.length);
    await second.discard();
    expect(await readdir(files.layout.partials)).toEqual([]);
  });

  it('finds the blobs whose bytes changed on disk', async () => {
    const [good, bad] = [Buffer.from('good'), Buffer.from('bad')];
    await files.store.putBytes(digestOf(good), good);
    await files.store.putBytes(digestOf(bad), bad);
    expect(await files.store.verifyAll(signal)).toEqual([]);
    await writeFile(files.layout.blob(digestOf(bad)), 'worse');
    expect(await files.store.verifyAll(signal)).toEqual([digestOf(bad)]);
  });

  it('goes on when its whole folder is deleted underneath', async () => {
    const bytes = Buffer.from('content');
    const digest = digestOf(bytes);
    await rm(files.directory, { recursive: true });
    expect(await files.store.sizeOf(digest)).toBeUndefined();
    expect(await files.store.describe([digest])).toEqual(new Map());

    await files.store.putBytes(digest, bytes);

    expect(await files.store.readBytes(digest, 100)).toEqual(bytes);
    expect(await readdir(files.directory)).toContain('oci-layout');
    expect((await stat(files.directory)).mode & 0o777).toBe(0o700);
  });

  it('sweeps at start what a crash left and nobody can use, and nothing else', async () => {
    const whole = Buffer.from('whole');
    await files.store.putBytes(digestOf(whole), whole);
    const hex = hexOf(digestOf(Buffer.from('gone')));
    await files.store.close();
    for (const path of [
      'index.json.12.tmp',
      'partial/ab.tmp',
      `partial/${hex}`,
      `chunks/${hex}.json`,
      'chunks/x.json.tmp',
    ]) {
      await writeFile(join(files.directory, path), 'left over');
    }

    files = await files.reopen();

    expect(await readdir(files.layout.partials)).toEqual([]);
    expect(await readdir(files.layout.chunks)).toEqual([`${hexOf(digestOf(whole))}.json`]);
    expect(await temporaries()).toEqual([]);
    expect(await files.store.readBytes(digestOf(whole), 100)).toEqual(whole);
  });
});
