import fc from 'fast-check';

import { InvalidInputError } from './errors.js';
import { digestName, formatReference, isRegistryHost, parseImageReference } from './image-reference.js';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}` as const;

const alphanumeric = fc.string({
  unit: fc.constantFrom('a', 'b', 'c', 'x', 'y', 'z', '0', '1', '9'),
  minLength: 1,
  maxLength: 8,
});
const separator = fc.constantFrom('.', '_', '__', '-', '---');
const component = fc
  .tuple(alphanumeric, fc.array(fc.tuple(separator, alphanumeric), { maxLength: 2 }))
  .map(([first, rest]) => first + rest.flat().join(''));
const registry = fc.constantFrom(
  'ghcr.io',
  'localhost',
  'localhost:5000',
  'Reg',
  '[2001:db8::1]:5000',
  'a.b-c.example:65535',
);
const name = fc
  .tuple(fc.option(registry, { nil: '' }), fc.array(component, { minLength: 1, maxLength: 3 }))
  // Without a host, a first component with a dot would be read as one.
  .filter(([host, path]) => host !== '' || path.length === 1 || !path[0]?.includes('.'))
  .map(([host, path]) => [...(host === '' ? [] : [host]), ...path].join('/'));
const tag = fc.stringMatching(/^\w[\w.-]{0,20}$/);
const reference = fc
  .tuple(name, fc.option(tag), fc.option(fc.constant(DIGEST)))
  .map(
    ([base, label, digest]) =>
      `${base}${label === null ? '' : `:${label}`}${digest === null ? '' : `@${digest}`}`,
  );

describe('parseImageReference', () => {
  // What `docker pull` makes of each (distribution/reference, ParseDockerRef without its dropping of tags beside digests).
  it.each([
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['docker.io/library/nginx:latest', 'docker.io/library/nginx:latest'],
    ['bitnami/redis', 'docker.io/bitnami/redis:latest'],
    ['a/b/c', 'docker.io/a/b/c:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000', 'docker.io/library/localhost:5000'],
    ['localhost:5000/app:1', 'localhost:5000/app:1'],
    ['ghcr.io/o/i', 'ghcr.io/o/i:latest'],
    ['Registry/app', 'Registry/app:latest'],
    ['127.0.0.1:5000/a', '127.0.0.1:5000/a:latest'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    ['[2001:db8::1]/app:x', '[2001:db8::1]/app:x'],
    [`nginx@${DIGEST}`, `docker.io/library/nginx@${DIGEST}`],
    [`nginx:1@${DIGEST}`, `docker.io/library/nginx:1@${DIGEST}`],
    [`host:1/a_b__c---d.e:T_a-g.1@${DIGEST}`, `host:1/a_b__c---d.e:T_a-g.1@${DIGEST}`],
  ])('normalises %s to %s', (text, canonical) => {
    expect(formatReference(parseImageReference(text))).toBe(canonical);
  });

  it.each([
    ['', 'empty'],
    [' ', 'lower-case'],
    ['Nginx', 'lower-case'],
    ['foo/Bar', 'lower-case'],
    ['../../etc/passwd', 'not a registry host'],
    ['a//b', 'lower-case'],
    ['a/', 'lower-case'],
    ['/a', 'lower-case'],
    ['a___b', 'lower-case'],
    ['a..b', 'lower-case'],
    ['-a', 'lower-case'],
    ['a-', 'lower-case'],
    ['a/../b', 'lower-case'],
    ['nginx\r\nX-Header: 1', 'tag'],
    ['nginx\n', 'lower-case'],
    ['nginx:', 'tag'],
    ['nginx:.x', 'tag'],
    ['nginx:a:b', 'tag'],
    [`nginx:${'t'.repeat(129)}`, 'tag'],
    ['nginx@', 'digest'],
    ['nginx@sha256:abc', 'digest'],
    [`nginx@${DIGEST.toUpperCase()}`, 'digest'],
    [`nginx@sha512:${'a'.repeat(128)}`, 'digest'],
    [`nginx@${DIGEST}@${DIGEST}`, 'more than one'],
    ['reg.example:99999/app', 'port'],
    ['reg.example:0/app', 'port'],
    ['reg.example:/app', 'port'],
    ['reg..example/app', 'registry host'],
    ['-reg.example/app', 'registry host'],
    ['[::1/app', 'registry host'],
    ['[:::]/app', 'registry host'],
    ['256.256.256.256/app', 'registry host'],
    ['https://reg.example/app', 'registry host'],
    ['\nreg.example/app', '"\\nreg.example" is not a registry host'],
    ['user:pass@reg.example/app', 'digest'],
    ['a'.repeat(64), 'image id'],
    ['x'.repeat(256), '255'],
    ['a'.repeat(5_000), '5000 characters'],
    ['nginx\u0000', 'lower-case'],
    ['ｎｇｉｎｘ', 'lower-case'],
  ])('refuses %j', (text, why) => {
    expect(() => parseImageReference(text)).toThrow(InvalidInputError);
    expect(() => parseImageReference(text)).toThrow(why);
  });

  it('reads what it has written, unchanged', () => {
    fc.assert(
      fc.property(reference, (text) => {
        const parsed = parseImageReference(text);
        expect(parsed.tag ?? parsed.digest).toBeDefined();
        expect(parseImageReference(formatReference(parsed))).toEqual(parsed);
      }),
    );
  });

  it('throws nothing but InvalidInputError, with a message that is short and on one line', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 1_000 }),
      fc
        .tuple(reference, fc.string({ unit: 'binary' }), fc.nat(300))
        .map(([text, junk, at]) => text.slice(0, at) + junk + text.slice(at)),
    );
    fc.assert(
      fc.property(hostile, (text) => {
        try {
          const { registry: host, repository } = parseImageReference(text);
          // What is accepted can stand in a URL and in a path as it is.
          expect(isRegistryHost(host)).toBe(true);
          expect(`/${repository}/`).not.toMatch(/\/\.{0,2}\/|[^a-z0-9._/-]/);
        } catch (error) {
          if (!(error instanceof InvalidInputError)) throw error;
          expect(error.code).toBe('INVALID_REFERENCE');
          expect(error.message.length).toBeLessThan(1_000);
          expect(error.message).not.toMatch(/[\r\n]/);
        }
      }),
    );
  });

  // No clock: a pattern that backtracks over texts like these would not come back at all.
  it('comes back from texts that invite backtracking, of the length it accepts', () => {
    for (const text of [
      'a-'.repeat(250),
      'a_'.repeat(250) + '!',
      `${'a.'.repeat(250)}/a`,
      '-'.repeat(500),
      ':'.repeat(500),
    ]) {
      expect(() => parseImageReference(text)).toThrow(InvalidInputError);
    }
  });
});

describe('digestName', () => {
  it('names the content, whatever the tag', () => {
    expect(digestName(parseImageReference('nginx:1'), DIGEST)).toBe(`docker.io/library/nginx@${DIGEST}`);
  });
});
