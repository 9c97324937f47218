import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { Digest } from '../../src/domain/digest.js';
import { DockerRegistry } from './docker-registry.js';

export interface Login {
  readonly username: string;
  readonly password: string;
}

/** A registry that tests run against, whoever wrote it. */
export interface RegistryUnderTest {
  /** `127.0.0.1:<port>`, as it stands in references. */
  readonly host: string;
  readonly url: string;
  /** Bytes it has sent per blob since the start or the last `forget`. */
  blobBytes(): Promise<ReadonlyMap<Digest, number>>;
  forget(): Promise<void>;
  stop(): Promise<void>;
}

/** The project's own, in memory. @param login basic authentication, when given */
export async function startDemoRegistry(login?: Login): Promise<RegistryUnderTest> {
  const registry = await DemoRegistry.start({ auth: login ? { kind: 'basic', ...login } : { kind: 'none' } });
  return {
    host: registry.host,
    url: registry.url,
    blobBytes: () => Promise.resolve(registry.ledger.blobBytes),
    forget: () => {
      registry.ledger.clear();
      return Promise.resolve();
    },
    stop: () => registry.stop(),
  };
}

/** The real one. @param login basic authentication by an `htpasswd` file, when given */
export async function startDockerRegistry(login?: Login): Promise<RegistryUnderTest> {
  const directory = await mkdtemp(join(tmpdir(), 'htpasswd-'));
  const htpasswdFile = join(directory, 'htpasswd');
  if (login) await writeFile(htpasswdFile, await htpasswd(login));
  const registry = await DockerRegistry.start(login ? { htpasswdFile } : {});
  return {
    host: registry.host,
    url: registry.url,
    blobBytes: async () => {
      const traffic = [...(await registry.blobTraffic())];
      return new Map(traffic.map(([digest, { bytes }]) => [digest, bytes]));
    },
    forget: () => registry.forget(),
    stop: async () => {
      await registry.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** bcrypt is the only hash that registries take. */
async function htpasswd({ username, password }: Login): Promise<string> {
  const { stdout } = await promisify(execFile)('htpasswd', ['-Bbn', username, password]);
  return stdout;
}
