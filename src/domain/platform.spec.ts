import { InvalidInputError } from './errors.js';
import { formatPlatform, parsePlatform, platformOfProcess, platformScore } from './platform.js';

describe('parsePlatform', () => {
  it.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/arm/v7', 'linux/arm/v7'],
    ['windows/amd64', 'windows/amd64'],
  ])('reads %s as %s', (text, canonical) => expect(formatPlatform(parsePlatform(text))).toBe(canonical));

  it.each([
    '',
    'linux',
    'linux/',
    '/amd64',
    'linux/amd64/',
    'linux/amd64/v1/x',
    'Linux/amd64',
    'linux/../x',
    'linux/amd64\n',
  ])('refuses %j', (text) => expect(() => parsePlatform(text)).toThrow(InvalidInputError));
});

describe('platformScore', () => {
  const score = (wanted: string, offered: string): number =>
    platformScore(parsePlatform(wanted), parsePlatform(offered));

  it('takes the same platform before any other, and nothing of another system or architecture', () => {
    expect(score('linux/amd64', 'linux/amd64')).toBeGreaterThan(score('linux/amd64/v3', 'linux/amd64'));
    expect(score('linux/amd64', 'windows/amd64')).toBe(0);
    expect(score('linux/amd64', 'linux/arm64')).toBe(0);
    expect(score('linux/arm64', 'linux/arm/v7')).toBe(0);
  });

  it('takes a variant only where it was asked for, a plain image anywhere', () => {
    expect(score('linux/amd64', 'linux/amd64/v3')).toBe(0);
    expect(score('linux/amd64/v3', 'linux/amd64')).toBeGreaterThan(0);
    expect(score('linux/arm64', 'linux/arm64/v8')).toBe(100);
  });

  it('takes older variants of 32-bit ARM, the newest first', () => {
    expect(score('linux/arm/v7', 'linux/arm/v6')).toBeGreaterThan(score('linux/arm/v7', 'linux/arm/v5'));
    expect(score('linux/arm/v5', 'linux/arm/v7')).toBe(0);
    expect(score('linux/arm', 'linux/arm/v7')).toBeGreaterThan(score('linux/arm', 'linux/arm/v6'));
    expect(score('linux/arm/v6', 'linux/arm/v8')).toBe(0);
  });
});

describe('platformOfProcess', () => {
  it('speaks Go', () => {
    expect(formatPlatform(platformOfProcess('linux', 'x64'))).toBe('linux/amd64');
    expect(formatPlatform(platformOfProcess('win32', 'ia32'))).toBe('windows/386');
    expect(formatPlatform(platformOfProcess('linux', 's390x'))).toBe('linux/s390x');
  });
});
