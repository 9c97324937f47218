import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { describeWith } from '../support/engines.js';

const POLL_MS = 20;

describeWith('docker-registry', 'the benchmarks', () => {
  let directory: string;
  let bench: ChildProcess;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bench-'));
    bench = spawn(
      process.execPath,
      ['--import', resolve('test/support/typescript-loader.mjs'), resolve('bench/main.ts'), 'bytes-moved'],
      { env: { ...process.env, TMPDIR: directory }, stdio: 'ignore' },
    );
  });

  afterEach(async () => {
    bench.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'leave nothing behind when %s ends them',
    async (signal, exitCode) => {
      const registry = await daemonOf(bench);
      const exited = once(bench, 'exit');
      bench.kill(signal);
      expect(await exited).toEqual([exitCode, null]);
      expect(await readdir(directory)).toEqual([]);
      expect(() => process.kill(registry, 0)).toThrow('ESRCH');
    },
    60_000,
  );
});

/** The first child of `bench`, once it has one: its registry. */
async function daemonOf(bench: ChildProcess): Promise<number> {
  const { pid = 0 } = bench;
  for (;;) {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    if (children !== '') return Number.parseInt(children, 10);
    expect(bench.exitCode).toBeNull();
    await delay(POLL_MS);
  }
}
