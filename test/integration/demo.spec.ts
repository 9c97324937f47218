import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Longer than the demo gives its nodes, so that it is the demo that says what it waits for. */
const LIMIT_MS = 240_000;

describe('npm run demo, once it is built', () => {
  let directory: string;
  let output: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'demo-test-'));
    // Rejects unless it exits 0.
    const { stdout } = await run(process.execPath, [resolve('dist/demo/main.js')], {
      env: { PATH: process.env['PATH'], TMPDIR: directory },
      timeout: LIMIT_MS,
    });
    output = stdout;
  }, LIMIT_MS);
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('shows three nodes with the image: one from the registry, the others from peers alone', () => {
    const lines = output.split('\n');
    const header = lines.findIndex((line) => line.startsWith('NODE '));
    const cells = lines.slice(header, header + 4).map((line) => line.split(/ {2,}/));
    expect(cells[0]).toEqual(['NODE', 'IMAGE', 'SOURCE', 'FROM REGISTRY', 'FROM PEERS']);
    const rows = cells.slice(1);
    expect(rows.map(([node]) => node)).toEqual(['node-1', 'node-2', 'node-3']);
    for (const [, image] of rows) expect(image).toMatch(/^127\.0\.0\.1:\d+\/demo\/app:1\.0$/);
    const whole = /layers, ([\d.]+ MiB)\.$/m.exec(output)?.[1];
    expect(rows.map(([, , ...gave]) => gave.join(' ')).sort()).toEqual([
      `peer 0 B ${whole}`,
      `peer 0 B ${whole}`,
      `registry ${whole} 0 B`,
    ]);
  });

  it('counts that the registry sent every byte once', () => {
    expect(output).toMatch(/unique blob bytes: ([\d.]+ MiB) ÷ \1 = 1\.00$/m);
  });

  it('leaves nothing behind', async () => {
    expect(await readdir(directory)).toEqual([]);
  });
});
