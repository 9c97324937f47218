import fc from 'fast-check';

import { parseContentLength, parseContentRange } from '../../src/common/content-range.js';
import { parseResolvConf } from '../../src/common/resolv-conf.js';
import { parseDurationMs, parseSizeBytes } from '../../src/common/units.js';
import { VARIABLE_NAMES } from '../../src/config/environment-variables.js';
import type { HostFacts } from '../../src/config/host-facts.js';
import { loadConfig } from '../../src/config/load-config.js';
import { formatReference, parseImageReference } from '../../src/domain/image-reference.js';
import { formatPlatform, parsePlatform } from '../../src/domain/platform.js';
import { parseImageList } from '../../src/image-list/parse-image-list.js';
import { parseByteRange, parseExactRange } from '../../src/mirror/byte-range.js';
import { parseDistributionPath } from '../../src/mirror/distribution-path.js';
import { parseSecretValue } from '../../src/peers/access/secret-value.js';
import { formatAddress, parseAddress } from '../../src/peers/peer-address.js';
import { parseAuthorization } from '../../src/peers/session/authorization-header.js';
import { parseChallenges } from '../../src/registry/auth/www-authenticate.js';
import { parseRetryAfterMs } from '../../src/registry/http/retry-after.js';
import { anyText, coded, fuzz, nearNumber, nearReference, textOf } from '../support/fuzz.js';
import { mutatedBytes } from '../support/mutations.js';
import { TINY_PLATFORM } from '../support/tiny-image.js';

const FUZZ_MS = 300_000;
const nearRange = textOf(
  ...['bytes', '=', ' ', '-', ',', '/', '*', '0', '1', '9'.repeat(15), '9'.repeat(17)],
);

describe('Readers of texts that others wrote', () => {
  it.each<[string, fc.Arbitrary<string>, (text: string) => void]>([
    [
      'image references',
      fc.oneof(nearReference, anyText),
      (text) => {
        const formatted = formatReference(parseImageReference(text));
        expect(formatted).toMatch(/^[\w.:[\]/@-]+$/);
        expect(formatReference(parseImageReference(formatted))).toBe(formatted);
      },
    ],
    [
      'platforms',
      fc.oneof(textOf('linux', '/', 'arm64', 'v8'), anyText),
      (text) => expect(formatPlatform(parsePlatform(text))).toMatch(/^[a-z0-9._/-]+$/),
    ],
    [
      'durations',
      fc.oneof(nearNumber, anyText),
      (text) => expect(parseDurationMs(text)).toBeGreaterThanOrEqual(0),
    ],
    [
      'sizes',
      fc.oneof(nearNumber, anyText),
      (text) => expect(parseSizeBytes(text)).toBeGreaterThanOrEqual(0),
    ],
    [
      'Range',
      fc.oneof(nearRange, anyText),
      (text) => {
        for (const size of [0, 1, 1000]) {
          const range = parseByteRange(text, size);
          if (range === undefined || range === 'unsatisfiable') continue;
          expect(range.start).toBeGreaterThanOrEqual(0);
          expect(range.end).toBeGreaterThan(range.start);
          expect(range.end).toBeLessThanOrEqual(size);
        }
        const exact = parseExactRange(text);
        if (exact) expect(exact.end).toBeGreaterThan(exact.start);
      },
    ],
    [
      'Content-Range and Content-Length',
      fc.oneof(nearRange, anyText),
      (text) => {
        const range = parseContentRange(text);
        if (range) expect(range.start < range.end && range.end <= range.size).toBe(true);
        expect(parseContentLength(text) ?? 0).toBeGreaterThanOrEqual(0);
      },
    ],
    [
      'distribution paths',
      fc.oneof(textOf('/v2/', 'team', '/', '..', 'blobs', 'manifests', 'sha256:', 'f'.repeat(64)), anyText),
      (text) => {
        const path = parseDistributionPath(text);
        if (path && 'name' in path) expect(path.name.split('/')).not.toContain('..');
      },
    ],
    [
      'peers’ authorization',
      fc.oneof(textOf('Preheat session=', ', ', 'counter=', 'mac=', 'A'.repeat(22)), anyText),
      (text) => void parseAuthorization(text),
    ],
    [
      'addresses',
      fc.oneof(textOf('10.0.0.1', '[', ']', '::', ':', 'fe80', '%eth0', '80'), anyText),
      (text) => {
        const address = parseAddress(text);
        if (address) expect(parseAddress(formatAddress(address))).toEqual(address);
      },
    ],
    [
      'challenges',
      fc.oneof(textOf('Bearer ', 'Basic ', 'realm=', '"', '\\', ',', ' ', 'https://a'), anyText),
      (text) => void parseChallenges(text),
    ],
    [
      'Retry-After',
      fc.oneof(nearNumber, anyText),
      (text) => expect(parseRetryAfterMs(text, 0) ?? 0).toBeGreaterThanOrEqual(0),
    ],
    [
      'resolv.conf',
      fc.oneof(textOf('search ', 'svc.', '\n', '#', ' '), anyText),
      (text) => void parseResolvConf(text),
    ],
    ['secrets', anyText, (text) => void parseSecretValue(Buffer.from(text), 'a test')],
  ])(
    'read %s, or refuse them with a code',
    async (name, texts, read) => {
      await fuzz(name, texts, async (text) => {
        await coded(() => read(text));
      });
    },
    FUZZ_MS,
  );

  it(
    'read image lists line by line, and never refuse the whole',
    async () => {
      const lines = fc
        .array(
          fc.oneof(
            nearReference,
            anyText,
            textOf('nginx', ' ', 'platform=', 'priority=', '9', '#', '\r', '\t'),
          ),
          { maxLength: 30 },
        )
        .map((texts) => Buffer.from(`${texts.join('\n')}\nnginx:1.27\n`));
      const sample = Buffer.from('nginx:1.27 priority=3 # first\r\n\n# a comment\nalpine@sha256:abc\n');
      await fuzz(
        'image lists',
        fc.oneof(lines, mutatedBytes(sample), fc.uint8Array({ maxLength: 2_000 })),
        (bytes) => {
          const { entries, invalidLines } = parseImageList(bytes, TINY_PLATFORM);
          for (const { image: name } of entries)
            expect(formatReference(parseImageReference(name))).toBe(name);
          for (const { reason } of invalidLines) expect(reason).not.toBe('');
        },
      );
      const [last] = parseImageList(Buffer.from('\0\n%%%\nnginx:1.27\n'), TINY_PLATFORM).entries;
      expect(last?.image).toBe('docker.io/library/nginx:1.27');
    },
    FUZZ_MS,
  );

  it(
    'read the environment, or name every problem of it',
    async () => {
      const facts: HostFacts = {
        hostName: 'h',
        addresses: ['10.0.0.1'],
        homeDirectory: '/root',
        workingDirectory: '/',
        searchDomains: [],
        platform: TINY_PLATFORM,
      };
      const value = fc.oneof(
        nearNumber,
        nearReference,
        fc.constantFrom('true', 'key', 'none', 'file', 'dns', '127.0.0.1', '/a'),
        fc.string(),
      );
      await fuzz(
        'the environment',
        fc.dictionary(fc.constantFrom(...VARIABLE_NAMES), value, { maxKeys: 12 }),
        async (env) => {
          await coded(() => loadConfig(env, facts));
        },
      );
    },
    FUZZ_MS,
  );
});
