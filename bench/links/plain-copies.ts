import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { Cleanup } from '../../test/support/cleanup.js';
import type { LinkHost } from './link-host.js';

const RELAY = fileURLToPath(new URL('relay.js', import.meta.url));
const PORT = 8000;

/** A process on `host` that downloads when it is told to, and then hands on what it has. */
class Relay {
  private readonly lines: Interface;

  private constructor(private readonly child: ChildProcessByStdio<Writable, Readable, null>) {
    this.lines = createInterface(child.stdout);
  }

  static async start(host: LinkHost, directory: string, urls: readonly string[]): Promise<Relay> {
    const file = join(directory, host.address);
    const own = [process.execPath, RELAY, host.address, String(PORT), file, ...urls];
    const [command, ...args] = [...host.launcher, ...own];
    const relay = new Relay(spawn(command ?? '', args, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await relay.says('listening');
    return relay;
  }

  /** Resolves when it has everything. */
  async download(): Promise<void> {
    this.child.stdin.write('\n');
    await this.says('whole');
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  private async says(expected: string): Promise<void> {
    const ended = new AbortController();
    this.child.once('exit', () => ended.abort(new Error(`the relay ended before it was ${expected}`)));
    const [line] = (await once(this.lines, 'line', { signal: ended.signal })) as [string];
    if (line !== expected) throw new Error(`the relay said ${line}`);
  }
}

/** Every host downloads all `blobs` from the registry at the same time, as without us. @returns milliseconds */
export async function everyoneFromRegistry(
  hosts: readonly LinkHost[],
  blobs: readonly string[],
  cleanup: Cleanup,
): Promise<number> {
  return timed(
    hosts.map((host) => ({ host, urls: blobs })),
    cleanup,
  );
}

/** The first host downloads from the registry, each of the others from the one before once that has all. @returns milliseconds */
export async function hostByHost(
  hosts: readonly LinkHost[],
  blob: string,
  cleanup: Cleanup,
): Promise<number> {
  const urls = [blob, ...hosts.map(({ address }) => `http://${address}:${PORT}/`)];
  return timed(
    hosts.map((host, index) => ({ host, urls: urls.slice(index, index + 1) })),
    cleanup,
  );
}

async function timed(
  downloads: readonly { readonly host: LinkHost; readonly urls: readonly string[] }[],
  cleanup: Cleanup,
): Promise<number> {
  const run = await cleanup.track(Promise.resolve(new Cleanup()), (it) => it.run());
  try {
    const directory = await run.track(mkdtemp(join(tmpdir(), 'relays-')), (it) =>
      rm(it, { recursive: true }),
    );
    const relays: Relay[] = [];
    for (const { host, urls } of downloads)
      relays.push(await run.track(Relay.start(host, directory, urls), (it) => it.stop()));
    const startedMs = performance.now();
    await Promise.all(relays.map((relay) => relay.download()));
    return performance.now() - startedMs;
  } finally {
    await run.run();
  }
}
