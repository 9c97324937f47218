import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Readable } from 'node:stream';

import { Logger } from '@nestjs/common';
import fc from 'fast-check';

import { systemClock } from '../../src/common/clock.js';
import { runCredentialHelper } from '../../src/registry/auth/credential-helper.js';
import { credentialSources, parseDockerConfig } from '../../src/registry/auth/docker-config.js';
import type { CredentialStore } from '../../src/registry/auth/credential-store.js';
import { RegistryAuthenticator } from '../../src/registry/auth/registry-authenticator.js';
import { TokenService } from '../../src/registry/auth/token-service.js';
import type { RegistryRequest, RegistryTransport } from '../../src/registry/http/registry-transport.js';
import { registryEndpoint } from '../../src/registry/registry-endpoint.js';
import { anyText, coded, fuzz, nearNumber, textOf } from '../support/fuzz.js';
import { mutatedBytes, mutatedJson } from '../support/mutations.js';

const FUZZ_MS = 300_000;
const { signal } = new AbortController();
const ENDPOINT = registryEndpoint('r.test:5000', []);
const PASSWORD = 'the password';

/** What a token service says. */
interface Said {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Answers every request with the same, and remembers the requests: nothing leaves this process. */
function transportOf({ status, body, headers }: Said) {
  const sent: RegistryRequest[] = [];
  const send = (_endpoint: unknown, request: RegistryRequest) => {
    sent.push(request);
    const stream = Object.assign(Readable.from([Buffer.from(body)]), { dump: () => Promise.resolve() });
    return Promise.resolve({ status, body: stream, header: (name: string) => headers[name] });
  };
  return { sent, transport: { send } as unknown as RegistryTransport };
}

describe('Readers of what registries and their token services answer', () => {
  beforeAll(() => {
    Logger.overrideLogger(false);
  });

  it(
    'turn a challenge and the token for it into one header, or fail with a code, and give the password to HTTPS alone',
    async () => {
      const token = { token: 'a.b.c', access_token: 'd', expires_in: 300, issued_at: '2024-01-01T00:00:00Z' };
      const target = textOf(
        'https://',
        'http://',
        'a.test',
        ':443',
        '/token',
        '?a=b',
        '@',
        '..',
        '%',
        '[::1]',
      );
      const said: fc.Arbitrary<Said> = fc.record({
        status: fc.constantFrom(200, 200, 200, 200, 301, 307, 400, 401, 403, 404, 429, 500, 999),
        body: mutatedJson(token),
        headers: fc.record(
          { location: fc.oneof(target, anyText), 'retry-after': nearNumber, 'content-length': nearNumber },
          { requiredKeys: [] },
        ),
      });
      const value = fc.oneof(fc.constantFrom('https://a.test/token', 'repository:app:pull'), target, anyText);
      const parameter = fc
        .tuple(fc.constantFrom('realm', 'service', 'scope', 'error', 'Realm'), value)
        .map(([name, text]) => `${name}="${text.replaceAll('"', '')}"`);
      const challenge = fc
        .tuple(fc.constantFrom('Bearer ', 'Basic ', 'bearer ', ''), fc.array(parameter, { maxLength: 4 }))
        .map(([scheme, parameters]) => scheme + parameters.join(','));
      const usual = fc.constant(
        'Bearer realm="https://a.test/token",service="s",scope="repository:app:pull"',
      );
      const credential = fc.constantFrom(
        undefined,
        { kind: 'password', username: 'u', password: PASSWORD } as const,
        { kind: 'identity-token', token: PASSWORD } as const,
      );
      await fuzz(
        'token services',
        fc.record({ said, challenge: fc.oneof(usual, usual, challenge, anyText), credential }),
        async ({ said: answer, challenge: header, credential: found }) => {
          const { sent, transport } = transportOf(answer);
          const store = { find: () => Promise.resolve(found), reload: () => undefined };
          const tokens = new TokenService(transport, systemClock);
          const authenticator = new RegistryAuthenticator(
            store as unknown as CredentialStore,
            tokens,
            systemClock,
          );
          const authorization = await coded(() =>
            authenticator.answer(ENDPOINT, 'app', header, undefined, signal),
          );
          if (authorization) expect(authorization.header).toMatch(/^(?:Bearer|Basic) [\x21-\x7e]+$/);
          expect(sent.length).toBeLessThan(20);
          for (const { url } of sent) {
            expect(url.protocol).toBe('https:');
            expect([...url.searchParams.values()]).not.toContain(PASSWORD);
          }
        },
        150,
      );
    },
    FUZZ_MS,
  );

  it(
    'find credentials in a configuration with odd hosts, as Docker does or not at all',
    async () => {
      const host = textOf('a.test', '*', '.', ':5000', 'https://', '/', 'v1', 'team', 'index.docker.io');
      const auth = { auth: 'c2VjcmV0OnNlY3JldA==' };
      const configs = fc.record({
        auths: fc.dictionary(host, fc.constantFrom<unknown>(auth, {}, 5), { maxKeys: 5 }),
        credHelpers: fc.dictionary(host, fc.constantFrom<unknown>('helper', '../x', 5), { maxKeys: 3 }),
      });
      await fuzz('hosts of credentials', fc.tuple(configs, host, host), ([config, registry, repository]) => {
        for (const source of credentialSources(
          parseDockerConfig(JSON.stringify(config)),
          registry,
          repository,
        ))
          if (source.kind === 'helper') expect(source.name).toBe('helper');
      });
    },
    FUZZ_MS,
  );

  it(
    'read what a credential helper prints, or name the helper and repeat nothing',
    async () => {
      const directory = await mkdtemp(join(tmpdir(), 'helper-'));
      const path = join(directory, 'answer');
      const script = `#!/bin/sh\nexec cat '${path}'\n`;
      await writeFile(join(directory, 'docker-credential-test'), script, { mode: 0o755 });
      const env = { PATH: [directory, '/usr/bin', '/bin'].join(delimiter) };
      const answer = { ServerURL: 'r.test', Username: 'u', Secret: 'SECRETSECRET' };
      try {
        await fuzz(
          'credential helpers',
          fc.oneof(mutatedJson(answer), mutatedBytes(Buffer.from(JSON.stringify(answer)))),
          async (printed) => {
            await writeFile(path, printed);
            try {
              const found = await runCredentialHelper('test', 'r.test', signal, env);
              expect(found === undefined || found.kind.length > 0).toBe(true);
            } catch (error) {
              expect(String(error)).toMatch(/^Error: docker-credential-test /);
              expect(String(error)).not.toContain('SECRET');
            }
          },
          12,
        );
      } finally {
        await rm(directory, { recursive: true });
      }
    },
    FUZZ_MS,
  );
});
