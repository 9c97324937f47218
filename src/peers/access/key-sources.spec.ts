import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { FileKeySource } from './file-key-source.js';
import type { KeptKey } from './kept-key.js';
import type { KeySecret, KeySecretStore } from './key-secret-store.js';
import { KubernetesKeySecret } from './kubernetes-key-secret.js';
import { SecretKeySource } from './secret-key-source.js';

const { signal } = new AbortController();

describe('FileKeySource', () => {
  let directory: string;
  let keyFile: string;
  let tokenFile: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'preheat-key-'));
    keyFile = join(directory, 'key');
    tokenFile = join(directory, 'token');
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('takes the whole content but a line break at its end', async () => {
    await writeFile(keyFile, `${'k'.repeat(64)}\n`);
    await writeFile(tokenFile, `${'t'.repeat(40)}\r\n`);
    expect(await new FileKeySource(keyFile, tokenFile).load(signal)).toEqual({
      peerKey: Buffer.from('k'.repeat(64)),
      apiToken: 't'.repeat(40),
    });
  });

  it('needs neither', async () => {
    expect(await new FileKeySource(undefined, undefined).load(signal)).toEqual({});
  });

  it('refuses a short key and a missing file, and does not repeat the content', async () => {
    await writeFile(keyFile, 'hunter2\n');
    const short = new FileKeySource(keyFile, undefined).load(signal);
    await expect(short).rejects.toMatchObject({ code: 'INVALID_SECRET' });
    await expect(short).rejects.not.toThrow('hunter2');
    const missing = new FileKeySource(undefined, tokenFile).load(signal);
    await expect(missing).rejects.toMatchObject({ code: 'INVALID_SECRET' });
  });
});

describe('SecretKeySource', () => {
  /** A file that survives the process. */
  class MemoryKeptKey implements KeptKey {
    key: Buffer | undefined;

    load(): Promise<Buffer | undefined> {
      return Promise.resolve(this.key);
    }

    save(key: Buffer): Promise<void> {
      this.key = key;
      return Promise.resolve();
    }
  }

  /** A Secret in memory; `before` runs ahead of each creation, as another agent would. */
  class MemoryKeySecret implements KeySecretStore {
    value: KeySecret | undefined;
    before: () => void = () => undefined;

    read(): Promise<KeySecret | undefined> {
      return Promise.resolve(this.value);
    }

    create(value: KeySecret): Promise<'created' | 'exists'> {
      this.before();
      if (this.value) return Promise.resolve('exists');
      this.value = value;
      return Promise.resolve('created');
    }
  }

  it('makes the Secret when there is none, and uses it from then on', async () => {
    const secrets = new MemoryKeySecret();
    const made = await new SecretKeySource(secrets, new MemoryKeptKey()).load(signal);
    expect(made.peerKey).toHaveLength(32);
    expect(made.apiToken).toMatch(/^[\w-]{43}$/);
    expect(await new SecretKeySource(secrets, new MemoryKeptKey()).load(signal)).toEqual(made);
  });

  it('takes the Secret of the agent that was faster', async () => {
    const secrets = new MemoryKeySecret();
    const faster = { peerKey: Buffer.alloc(32, 1), apiToken: 'f'.repeat(43) };
    secrets.before = () => {
      secrets.value = faster;
    };
    expect(await new SecretKeySource(secrets, new MemoryKeptKey()).load(signal)).toEqual(faster);
  });

  it('makes no key whose last byte would be taken for a line break', async () => {
    const secrets = new MemoryKeySecret();
    const drawn = [0x0a, 0x0a, 0x0b].map((last) => Buffer.from([...Array<number>(31).fill(7), last]));
    const random = () => drawn.shift() ?? Buffer.alloc(32);
    const { peerKey } = await new SecretKeySource(secrets, new MemoryKeptKey(), random).load(signal);
    expect(peerKey?.at(-1)).toBe(0x0b);
    const stored = { 'peer-key': secrets.value!.peerKey, 'api-token': Buffer.from(secrets.value!.apiToken) };
    const api = {
      readSecret: () => Promise.resolve(stored),
      createSecret: () => Promise.reject(new Error()),
    };
    expect((await new KubernetesKeySecret(api, 'key').read(signal))?.peerKey).toEqual(peerKey);
  });

  it('keeps the peer key, and nothing else, for a start without the API server', async () => {
    const secrets = new MemoryKeySecret();
    const kept = new MemoryKeptKey();
    expect(await new SecretKeySource(secrets, kept).recall()).toEqual({});
    const { peerKey } = await new SecretKeySource(secrets, kept).load(signal);
    expect(await new SecretKeySource(secrets, kept).recall()).toEqual({ peerKey });
    const changed = { peerKey: Buffer.alloc(32, 1), apiToken: 'c'.repeat(43) };
    secrets.value = changed;
    await new SecretKeySource(secrets, kept).load(signal);
    expect(await new SecretKeySource(secrets, kept).recall()).toEqual({ peerKey: changed.peerKey });
    kept.key = Buffer.alloc(0);
    expect(await new SecretKeySource(secrets, kept).recall()).toEqual({});
  });
});

describe('KubernetesKeySecret', () => {
  const secretOf = (data: Record<string, Buffer> | undefined) =>
    new KubernetesKeySecret(
      { readSecret: () => Promise.resolve(data), createSecret: () => Promise.resolve('created') },
      'image-preheat-key',
    );

  it('reads both values', async () => {
    const data = { 'peer-key': Buffer.alloc(32, 7), 'api-token': Buffer.from('t'.repeat(43)) };
    expect(await secretOf(data).read(signal)).toEqual({
      peerKey: data['peer-key'],
      apiToken: 't'.repeat(43),
    });
    expect(await secretOf(undefined).read(signal)).toBeUndefined();
  });

  it('refuses a Secret without one of them', async () => {
    const read = secretOf({ 'peer-key': Buffer.alloc(32) }).read(signal);
    await expect(read).rejects.toThrow('api-token in Secret image-preheat-key is missing');
  });
});
