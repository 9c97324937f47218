import type { LookupAddress } from 'node:dns';

import { isLoopbackHost, localPlaceOf } from './address.js';
import { ConnectGuard, plainLookup } from './connect-guard.js';
import type { HostLookup } from './host-lookup.js';

const ADDRESSES: Record<string, string[]> = {
  'registry.test': ['203.0.113.1'],
  'inside.test': ['127.0.0.1', '203.0.113.1'],
  'link.test': ['169.254.1.1'],
  'storage.test': ['203.0.113.2', '2001:db8::2'],
  'evil.test': ['203.0.113.2', '::1'],
  'metadata.test': ['169.254.169.254'],
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
    ['inside.test', 'evil.test', true],
    ['inside.test', 'metadata.test', false],
    ['link.test', 'metadata.test', true],
    ['link.test', 'evil.test', false],
    ['127.0.0.1', 'evil.test', true],
    ['[::1]', 'evil.test', true],
    ['203.0.113.9', 'evil.test', false],
  ])('from %s to %s: %s', async (registryHost, name, allowed) => {
    const answer = lookUp(new ConnectGuard(registryHost, resolve), name);
    if (allowed) await expect(answer).resolves.toBeDefined();
    else await expect(answer).rejects.toMatchObject({ reason: 'registry_error' });
  });

  it('checks addresses that are never looked up', async () => {
    const guard = new ConnectGuard('registry.test', resolve);
    await expect(guard.checkLiteral('[::1]')).rejects.toMatchObject({ reason: 'registry_error' });
    await expect(guard.checkLiteral('169.254.169.254')).rejects.toMatchObject({ reason: 'registry_error' });
    await expect(guard.checkLiteral('203.0.113.2')).resolves.toBeUndefined();
    await expect(guard.checkLiteral('evil.test')).resolves.toBeUndefined();
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

describe('localPlaceOf', () => {
  it.each<[string, string | undefined]>([
    ['127.0.0.1', 'loopback'],
    ['127.255.0.3', 'loopback'],
    ['0.0.0.0', 'loopback'],
    ['::', 'loopback'],
    ['::1', 'loopback'],
    ['[::1]', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['169.254.169.254', 'link-local'],
    ['::ffff:a9fe:a9fe', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['10.0.0.1', undefined],
    ['fd00::1', undefined],
    ['example.com', undefined],
    ['', undefined],
  ])('%s: %s', (address, place) => {
    expect(localPlaceOf(address)).toBe(place);
  });
});

describe('isLoopbackHost', () => {
  it.each(['localhost', 'LOCALHOST.', 'a.localhost', '127.0.0.1', '[::1]'])('%s is', (host) => {
    expect(isLoopbackHost(host)).toBe(true);
  });
  it.each(['localhost.example.com', 'notlocalhost', '10.0.0.1', '169.254.1.1'])('%s is not', (host) => {
    expect(isLoopbackHost(host)).toBe(false);
  });
});
