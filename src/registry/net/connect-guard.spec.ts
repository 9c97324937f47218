import type { LookupAddress } from 'node:dns';

import { ConnectGuard, plainLookup } from './connect-guard.js';
import type { HostLookup } from './host-lookup.js';

const ADDRESSES: Record<string, string[]> = {
  'registry.test': ['203.0.113.1'],
  'inside.test': ['127.0.0.1', '203.0.113.1'],
  'link.test': ['169.254.1.1'],
  'storage.test': ['203.0.113.2', '2001:db8::2'],
  'evil.test': ['203.0.113.2', '::1'],
  'metadata.test': ['169.254.169.254'],
  'nat64.test': ['64:ff9b::a9fe:a9fe'],
  'aws.test': ['fd00:ec2::254'],
};
const resolve: HostLookup = (name) => {
  const addresses = ADDRESSES[name] ?? [];
  return Promise.resolve(addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
};

/** What a socket would be told. */
function lookUp(guard: ConnectGuard, name: string, all = true): Promise<string | LookupAddress[]> {
  return new Promise((answer, fail) => {
    guard.lookup(name, { all }, (error, address) => {
      if (error) fail(error);
      else answer(address);
    });
  });
}

describe('ConnectGuard', () => {
  it('answers as the socket asked', async () => {
    const guard = new ConnectGuard('registry.test', resolve);
    expect(await lookUp(guard, 'storage.test')).toEqual([
      { address: '203.0.113.2', family: 4 },
      { address: '2001:db8::2', family: 6 },
    ]);
    expect(await lookUp(guard, 'storage.test', false)).toBe('203.0.113.2');
    await expect(lookUp(guard, 'absent.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it.each<[string, string, boolean]>([
    ['registry.test', 'storage.test', true],
    ['registry.test', 'evil.test', false],
    ['registry.test', 'metadata.test', false],
    ['registry.test', 'nat64.test', false],
    ['registry.test', 'aws.test', false],
    // Where its own name leads, the registry may have said for this very purpose.
    ['inside.test', 'evil.test', false],
    ['link.test', 'metadata.test', false],
    ['127.0.0.1', 'evil.test', true],
    ['127.0.0.1', 'metadata.test', false],
    ['localhost', 'evil.test', true],
    ['[::1]', 'evil.test', true],
    ['169.254.7.7', 'link.test', true],
    ['169.254.7.7', 'aws.test', false],
    ['[fd00:ec2::254]', 'aws.test', true],
    ['203.0.113.9', 'evil.test', false],
  ])('from %s to %s: %s', async (registryHost, name, allowed) => {
    const answer = lookUp(new ConnectGuard(registryHost, resolve), name);
    if (allowed) await expect(answer).resolves.toBeDefined();
    else await expect(answer).rejects.toMatchObject({ reason: 'registry_error' });
  });

  it('checks addresses that are never looked up, and names that are known everywhere', () => {
    const guard = new ConnectGuard('registry.test', resolve);
    for (const host of ['[::1]', '169.254.169.254', 'metadata.google.internal', 'Metadata.goog.'])
      expect(() => guard.checkHost(host)).toThrow(/is not followed/);
    for (const host of ['203.0.113.2', 'evil.test']) expect(() => guard.checkHost(host)).not.toThrow();
  });
});

describe('ConnectGuard before a proxy', () => {
  const { signal } = new AbortController();

  it.each<[string, boolean]>([
    ['storage.test', true],
    ['evil.test', false],
    ['metadata.test', false],
    ['169.254.169.254', false],
    ['[64:ff9b::a9fe:a9fe]', false],
    ['203.0.113.2', true],
    ['metadata.google.internal', false],
  ])('lets %s pass: %s', async (host, allowed) => {
    const checked = new ConnectGuard('registry.test', resolve).checkProxied(host, signal);
    if (allowed) await expect(checked).resolves.toBeUndefined();
    else await expect(checked).rejects.toMatchObject({ reason: 'registry_error' });
  });

  it('leaves to the proxy what our resolver does not know, and waits for it no longer than for 5 s', async () => {
    const unknown = new ConnectGuard('registry.test', () => Promise.reject(new Error('ENOTFOUND')));
    await expect(unknown.checkProxied('storage.test', signal)).resolves.toBeUndefined();
    jest.useFakeTimers();
    try {
      const silent = new ConnectGuard('registry.test', () => new Promise(() => undefined));
      const checked = silent.checkProxied('storage.test', signal);
      await jest.advanceTimersByTimeAsync(5_000);
      await expect(checked).resolves.toBeUndefined();
    } finally {
      jest.useRealTimers();
    }
  });

  it('ends with the reason of its signal', async () => {
    const silent = new ConnectGuard('registry.test', () => new Promise(() => undefined));
    const controller = new AbortController();
    const checked = silent.checkProxied('storage.test', controller.signal);
    controller.abort(new Error('stop'));
    await expect(checked).rejects.toThrow('stop');
  });
});

describe('plainLookup', () => {
  it('goes wherever the name leads', async () => {
    const answer = new Promise((done) =>
      plainLookup(resolve)('evil.test', { all: true }, (_, addresses) => done(addresses)),
    );
    expect(await answer).toHaveLength(2);
  });
});
