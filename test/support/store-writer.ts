import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const STORE = join(process.cwd(), 'dist', 'store');
/** A process cannot be killed without its tests unless it is a real one, and that needs the compiled program. */
export const missingBuild = existsSync(join(STORE, 'blob-store.js'))
  ? undefined
  : '`npm run build` was not run';

const WRITER = `
  import { createCipheriv, createHash } from 'node:crypto';
  import { Readable } from 'node:stream';
  const { BlobStore } = await import(process.argv[1] + '/blob-store.js');
  const { ImageCatalog } = await import(process.argv[1] + '/image-catalog.js');
  const { StoreInventory } = await import(process.argv[1] + '/store-inventory.js');
  const { StoreLayout } = await import(process.argv[1] + '/store-layout.js');
  const { StoreLock } = await import(process.argv[1] + '/store-lock.js');
  const { systemClock } = await import(process.argv[1] + '/../common/clock.js');
  const [, , directory, sizeBytes] = process.argv;
  const layout = new StoreLayout({ store: { directory } });
  const catalog = new ImageCatalog(layout, systemClock);
  const store = new BlobStore(layout, new StoreLock(layout), new StoreInventory(layout), catalog, systemClock);
  await store.open();
  process.stdout.write('open\\n');
  const { signal } = new AbortController();
  for (let index = catalog.list().length; ; index += 1) {
    const key = createHash('sha256').update('blob ' + index).digest();
    const bytes = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(Number(sizeBytes)));
    const digest = 'sha256:' + createHash('sha256').update(bytes).digest('hex');
    if ((await store.sizeOf(digest)) !== undefined) continue;
    const partial = await store.openPartial(digest, bytes.length);
    process.stdout.write('resumed ' + partial.verified.size + '\\n');
    // Backwards in quarters, then the rest in order: some chunks come out of order, as from a swarm.
    for (const start of [3, 2, 0].map((quarter) => (bytes.length / 4) * quarter)) {
      const pieces = [];
      for (let at = start; at < bytes.length; at += 65536) pieces.push(bytes.subarray(at, at + 65536));
      await partial.write(start, Readable.from(pieces), signal);
    }
    await partial.commit();
    const blobs = [{ digest, size: bytes.length }];
    await catalog.add({ image: 'test/image:' + index, platform: 'linux/amd64', root: digest, mediaType: 'x', size: bytes.length, blobs });
    await store.ingest(Readable.from([bytes.subarray(1)]), () => index % 2 === 0, bytes.length, signal);
    process.stdout.write('committed\\n');
  }
`;

/** A process that opens the store in `directory` and writes blobs of `sizeBytes` (in mebibytes a multiple of 4) for ever. */
export class StoreWriter {
  private readonly child: ChildProcess;
  private text = '';

  constructor(directory: string, sizeBytes: number) {
    this.child = spawn(
      process.execPath,
      ['--input-type=module', '--eval', WRITER, STORE, directory, String(sizeBytes)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.text += text));
  }

  /** For each blob begun, how many of its chunks an earlier process had written. */
  get resumedChunks(): readonly number[] {
    return [...this.text.matchAll(/resumed (\d+)\n/g)].map((match) => Number(match[1]));
  }

  get committedBlobs(): number {
    return this.text.split('committed\n').length - 1;
  }

  /** @throws when it ended by itself */
  async opened(): Promise<void> {
    while (!this.text.startsWith('open\n')) {
      if (this.child.exitCode !== null) throw new Error(`the writer ended with ${this.child.exitCode}`);
      await Promise.race([
        once(this.child, 'exit'),
        this.child.stdout ? once(this.child.stdout, 'data') : undefined,
      ]);
    }
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}
