import fc from 'fast-check';

import { credentialSources, parseDockerConfig } from './docker-config.js';

const encoded = (text: string): string => Buffer.from(text).toString('base64');

/** What would be asked or used for a repository, best first, in short. */
function sourcesOf(config: unknown, registry: string, repository = 'team/app'): string[] {
  return credentialSources(parseDockerConfig(JSON.stringify(config)), registry, repository).map((source) => {
    if (source.kind === 'helper') return `helper ${source.name}`;
    const { credential } = source;
    return credential.kind === 'password'
      ? `${credential.username}:${credential.password}`
      : `token ${credential.token}`;
  });
}

describe('parseDockerConfig', () => {
  it.each<[string, unknown, string[]]>([
    ['auth', { auth: encoded('alice:pa:ss') }, ['alice:pa:ss']],
    ['username and password', { username: 'alice', password: 'x' }, ['alice:x']],
    ['an identity token before the rest', { auth: encoded('a:b'), identitytoken: 't' }, ['token t']],
    ['auth with padding of zeros', { auth: encoded('alice:x\0\0') }, ['alice:x']],
    ['auth before username and password', { auth: encoded('a:b'), username: 'c', password: 'd' }, ['a:b']],
    ['an empty entry', {}, []],
    ['auth without a colon', { auth: encoded('alice') }, []],
    ['what is no entry', 'alice', []],
  ])('reads %s', (_, entry, expected) => {
    expect(sourcesOf({ auths: { 'r.test': entry } }, 'r.test')).toEqual(expected);
  });

  it('reads the other entries when one is broken', () => {
    const auths = { 'r.test': { auth: 5 }, 'o.test': { username: 'a', password: 'b' } };
    expect(sourcesOf({ auths, credHelpers: { 'o.test': '../../bin/sh' } }, 'o.test')).toEqual(['a:b']);
  });

  it.each(['', 'null', '[]', '{"auths":[1]}', '{"auths": {"r.test": {"auth": "secret"'])(
    'refuses %p without repeating it',
    (text) => {
      expect(() => parseDockerConfig(text)).toThrow(/^it is not/);
    },
  );

  it('survives any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (auths) => {
        const text = JSON.stringify({ auths: { 'r.test': auths } });
        expect(credentialSources(parseDockerConfig(text), 'r.test', 'a').length).toBeLessThan(2);
      }),
    );
  });
});

describe('credentialSources', () => {
  const user = (name: string): object => ({ username: name, password: 'x' });

  it.each([
    'https://index.docker.io/v1/',
    'index.docker.io',
    'docker.io',
    'registry-1.docker.io',
    'https://docker.io/v2/',
  ])('knows Docker Hub as %s', (key) => {
    expect(sourcesOf({ auths: { [key]: user('hub') } }, 'docker.io', 'library/nginx')).toEqual(['hub:x']);
  });

  it.each(['r.test:5000', 'https://r.test:5000', 'http://r.test:5000/v1/', 'R.test:5000/'])(
    'knows a registry as %s',
    (key) => {
      expect(sourcesOf({ auths: { [key]: user('a') } }, 'r.test:5000')).toEqual(['a:x']);
      expect(sourcesOf({ auths: { [key]: user('a') } }, 'r.test')).toEqual([]);
    },
  );

  it('takes the longest path that holds, by whole components', () => {
    const auths = {
      'r.test': user('all'),
      'r.test/team': user('team'),
      'r.test/team/app': user('app'),
      'r.test/team/ap': user('prefix'),
      'r.test/other': user('other'),
    };
    expect(sourcesOf({ auths }, 'r.test', 'team/app')).toEqual(['app:x', 'team:x', 'all:x']);
    expect(sourcesOf({ auths }, 'r.test', 'team/app/deep')).toEqual(['app:x', 'team:x', 'all:x']);
    expect(sourcesOf({ auths }, 'r.test', 'teams')).toEqual(['all:x']);
  });

  it('takes a helper of the registry, then the store, then the file', () => {
    const config = {
      auths: { 'r.test': user('file'), 'r.test/team': user('team') },
      credHelpers: { 'r.test': 'cloud' },
      credsStore: 'desktop',
    };
    expect(sourcesOf(config, 'r.test')).toEqual(['team:x', 'helper cloud', 'helper desktop', 'file:x']);
    expect(sourcesOf(config, 'o.test')).toEqual(['helper desktop']);
  });

  it.each<[string, string, boolean]>([
    ['*.cloud.test', 'a.cloud.test', true],
    ['*.cloud.test', 'a.b.cloud.test', false],
    ['*.cloud.test', 'cloud.test', false],
    ['reg-*-eu.cloud.test', 'reg-1-eu.cloud.test', true],
    ['reg-*-eu.cloud.test', 'reg-eu.cloud.test', false],
    ['*a*a.test', 'aa.test', true],
    ['*a*a.test', 'a.test', false],
    ['*.cloud.test:5000', 'a.cloud.test', false],
  ])('matches %s with %s: %s', (pattern, registry, expected) => {
    expect(sourcesOf({ auths: { [pattern]: user('a') } }, registry)).toEqual(expected ? ['a:x'] : []);
  });

  it('takes a host in full before a pattern', () => {
    const auths = { '*.test': user('pattern'), 'r.test': user('full') };
    expect(sourcesOf({ auths }, 'r.test')).toEqual(['full:x', 'pattern:x']);
  });
});
