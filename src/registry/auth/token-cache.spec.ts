import { TokenCache } from './token-cache.js';

const key = (repository: string, credentialId = 'anonymous') => ({
  registry: 'r.test',
  repository,
  credentialId,
});
const entry = (header: string) => ({ scheme: 'basic' as const, header });

describe('TokenCache', () => {
  it('tells registry, repository and credential apart', () => {
    const cache = new TokenCache();
    cache.set(key('a'), entry('1'));
    expect(cache.get(key('a'))?.header).toBe('1');
    expect(cache.get(key('a', 'other'))).toBeUndefined();
    expect(cache.get(key('b'))).toBeUndefined();
    expect(cache.get({ ...key('a'), registry: 'o.test' })).toBeUndefined();
    cache.delete(key('a'));
    expect(cache.get(key('a'))).toBeUndefined();
  });

  it('holds 256, and lets go of the one unused longest', () => {
    const cache = new TokenCache();
    for (let index = 0; index < 256; index++) cache.set(key(String(index)), entry(String(index)));
    cache.get(key('0'));
    cache.set(key('new'), entry('new'));
    expect(cache.get(key('0'))).toBeDefined();
    expect(cache.get(key('1'))).toBeUndefined();
    expect(cache.get(key('2'))).toBeDefined();
  });
});
