import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Logger } from '@nestjs/common';

import { systemClock } from '../../common/clock.js';
import type { CredentialHelper } from './credential-helper.js';
import { CredentialStore } from './credential-store.js';
import type { RegistryCredential } from './registry-credential.js';

describe('CredentialStore', () => {
  const { signal } = new AbortController();
  let directory: string;
  let path: string;
  let nowMs: number;
  let store: CredentialStore;
  /** What the helper answers, and what it was asked. */
  let answer: () => Promise<RegistryCredential | undefined>;
  let asked: string[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'credentials-'));
    path = join(directory, 'config.json');
    nowMs = 0;
    asked = [];
    answer = () => Promise.resolve(undefined);
    const helper: CredentialHelper = (name, serverUrl) => {
      asked.push(`${name} ${serverUrl}`);
      return answer();
    };
    const registry = { credentialsFile: path, certsDir: '', insecure: [], proxy: { noProxy: [] } };
    store = new CredentialStore({ registry }, helper, { ...systemClock, monotonicMs: () => nowMs });
    Logger.overrideLogger(false);
  });
  afterEach(async () => {
    Logger.overrideLogger(['log', 'warn', 'error']);
    await rm(directory, { recursive: true });
  });

  const find = (registry = 'r.test') => store.find(registry, 'team/app', signal);
  const write = (config: unknown) => writeFile(path, JSON.stringify(config));
  const password = (text: string): RegistryCredential => ({
    kind: 'password',
    username: 'a',
    password: text,
  });
  const entry = (text: string): object => ({ auths: { 'r.test': { username: 'a', password: text } } });

  it('goes without where there is no file, and follows it from then on', async () => {
    expect(await find()).toBeUndefined();
    await write(entry('one'));
    expect(await find()).toEqual(password('one'));
    await write(entry('second'));
    expect(await find()).toEqual(password('second'));
    await rm(path);
    expect(await find()).toBeUndefined();
  });

  it('keeps the last good one while the file is broken', async () => {
    await write(entry('one'));
    await find();
    await writeFile(path, '{"auths":');
    expect(await find()).toEqual(password('one'));
  });

  it('asks a helper once in 5 minutes, or after a reload', async () => {
    await write({ credsStore: 'cloud' });
    answer = () => Promise.resolve(password('h'));
    expect(await find()).toEqual(password('h'));
    nowMs = 299_000;
    await find();
    expect(asked).toEqual(['cloud r.test']);
    nowMs = 301_000;
    await find();
    store.reload();
    await find();
    expect(asked).toHaveLength(3);
  });

  it('asks a helper about Docker Hub by its old name', async () => {
    await write({ credHelpers: { 'index.docker.io': 'cloud' } });
    await find('docker.io');
    expect(asked).toEqual(['cloud https://index.docker.io/v1/']);
  });

  it('goes on to the next source when a helper has nothing, or fails', async () => {
    await write({ ...entry('file'), credsStore: 'cloud' });
    expect(await find()).toEqual(password('file'));
    store.reload();
    answer = () => Promise.reject(new Error('docker-credential-cloud failed'));
    expect(await find()).toEqual(password('file'));
  });

  it('stops with its signal', async () => {
    await write({ credsStore: 'cloud' });
    answer = () => new Promise(() => undefined);
    const controller = new AbortController();
    const found = store.find('r.test', 'team/app', controller.signal);
    setImmediate(() => controller.abort(new Error('enough')));
    await expect(found).rejects.toThrow('enough');
  });
});
