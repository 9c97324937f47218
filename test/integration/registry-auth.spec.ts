import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { RegistryAuth } from '../../src/demo/registry/registry-behaviour.js';
import { type ImageReference, parseImageReference } from '../../src/domain/image-reference.js';
import type { RegistryCredential } from '../../src/registry/auth/registry-credential.js';
import { InstantClock } from '../support/instant-clock.js';
import { TestRegistryClient } from '../support/registry-client.js';
import { putSmallImage, type SmallImage } from '../support/small-image.js';
import { Trap } from '../support/trap.js';

const OPEN: RegistryAuth = { kind: 'token', expiresInMs: 60_000 };
const CLOSED: RegistryAuth = { ...OPEN, username: 'alice', password: 'secret-1' };

describe('RegistryClient and tokens', () => {
  const { signal } = new AbortController();
  const clock = new InstantClock();
  let registry: DemoRegistry;
  let test: TestRegistryClient;
  let image: SmallImage;
  let reference: ImageReference;
  let helper: jest.Mock<Promise<RegistryCredential | undefined>>;

  beforeEach(async () => {
    registry = await DemoRegistry.start({ clock, auth: OPEN });
    image = await putSmallImage(registry, 'team/app', '1.0');
    reference = parseImageReference(`${registry.host}/team/app:1.0`);
    helper = jest.fn(() => Promise.resolve(undefined));
    test = await TestRegistryClient.create({ clock, helper });
  });
  afterEach(async () => {
    await test.dispose();
    await registry.stop();
  });

  const tokens = (): number => registry.ledger.count(/ \/token$/);
  const refusals = (): number => registry.ledger.requests.filter(({ status }) => status === 401).length;

  it('asks for a token when it is challenged, and keeps it', async () => {
    await test.client.resolve(reference, signal);
    await test.client.manifest(reference, image.manifestDigest, signal);
    const { stream } = await test.client.blob(reference, image.blobDigest, { start: 0 }, signal);
    expect((await buffer(stream)).equals(image.blob)).toBe(true);
    expect({ tokens: tokens(), refusals: refusals() }).toEqual({ tokens: 1, refusals: 1 });
  });

  it('keeps one token per repository', async () => {
    await putSmallImage(registry, 'team/other', '1.0');
    await test.client.resolve(reference, signal);
    await test.client.resolve(parseImageReference(`${registry.host}/team/other:1.0`), signal);
    expect(tokens()).toBe(2);
  });

  it('shares one token among all who ask at once', async () => {
    await Promise.all(Array.from({ length: 20 }, () => test.client.resolve(reference, signal)));
    expect(tokens()).toBe(1);
  });

  it.each([
    ['told', true],
    ['60 s when not told', false],
  ])('renews a token when half of its life is over: %s', async (_, tellsExpiry) => {
    registry.behaviour.auth = { ...OPEN, tellsExpiry };
    await test.client.resolve(reference, signal);
    clock.advance(29_000);
    await test.client.resolve(reference, signal);
    expect(tokens()).toBe(1);
    clock.advance(2_000);
    await test.client.resolve(reference, signal);
    expect({ tokens: tokens(), refusals: refusals() }).toEqual({ tokens: 2, refusals: 1 });
  });

  it('gets another token when the registry takes the old one no more', async () => {
    await test.client.resolve(reference, signal);
    registry.access.revokeTokens();
    const { stream } = await test.client.blob(reference, image.blobDigest, { start: 1000 }, signal);
    expect((await buffer(stream)).equals(image.blob.subarray(1000))).toBe(true);
    expect(tokens()).toBe(2);
  });

  it('reads access_token as well as token', async () => {
    registry.behaviour.auth = { ...OPEN, field: 'access_token' };
    await expect(test.client.resolve(reference, signal)).resolves.toBeDefined();
  });

  it('shows a password to the token service alone', async () => {
    registry.behaviour.auth = CLOSED;
    await test.login(registry.host, 'alice', 'secret-1');
    await test.client.resolve(reference, signal);
    const basic = registry.ledger.requests.filter(({ authorization }) => authorization === 'basic');
    expect(basic.map(({ path }) => path)).toEqual(['/token']);
  });

  it('sends a refresh token by POST, and no password', async () => {
    registry.behaviour.auth = { ...OPEN, identityToken: 'refresh-me' };
    await test.configure({ auths: { [registry.host]: { identitytoken: 'refresh-me' } } });
    await test.client.resolve(reference, signal);
    expect(registry.ledger.count(/^POST \/token$/)).toBe(1);
    expect(registry.ledger.requests.some(({ authorization }) => authorization === 'basic')).toBe(false);
  });

  it.each([307, 308])('sends a refresh token nowhere else when it is answered with %d', async (status) => {
    const trap = await Trap.start();
    const headers = { location: `http://127.0.0.1:${trap.port}/token` };
    registry.behaviour.auth = { ...OPEN, identityToken: 'refresh-me' };
    registry.faults.add(/^POST \/token$/, { kind: 'status', status, headers }, Infinity);
    await test.configure({ auths: { [registry.host]: { identitytoken: 'refresh-me' } } });
    const resolved = test.client.resolve(reference, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'registry_error' });
    await expect(resolved).rejects.toThrow(/redirects a POST/);
    expect(registry.ledger.count(/^POST \/token$/)).toBe(1);
    expect(trap.visits).toBe(0);
    await trap.stop();
  });

  it('gives up on a wrong password after one request to each side, and does not repeat it', async () => {
    registry.behaviour.auth = CLOSED;
    await test.login(registry.host, 'alice', 'not-the-secret');
    const resolved = test.client.resolve(reference, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'unauthorized' });
    await expect(resolved).rejects.not.toThrow(/not-the-secret|upstream detail/);
    expect(registry.ledger.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'HEAD /v2/team/app/manifests/1.0',
      'GET /token',
    ]);
  });

  it('asks a credential helper again when its credential is refused', async () => {
    registry.behaviour.auth = CLOSED;
    await test.configure({ credHelpers: { [registry.host]: 'cloud' } });
    const password = (text: string): Promise<RegistryCredential> =>
      Promise.resolve({ kind: 'password', username: 'alice', password: text });
    helper
      .mockImplementationOnce(() => password('rotated away'))
      .mockImplementation(() => password('secret-1'));
    await test.client.resolve(reference, signal);
    await test.client.resolve(reference, signal);
    expect(helper.mock.calls.map(([name, server]: unknown[]) => [name, server])).toEqual([
      ['cloud', registry.host],
      ['cloud', registry.host],
    ]);
  });

  it('uses no token with another credential than the one it was given for', async () => {
    await test.client.resolve(reference, signal);
    registry.access.revokeTokens();
    registry.behaviour.auth = CLOSED;
    await test.login(registry.host, 'alice', 'secret-1');
    registry.ledger.clear();
    await test.client.resolve(reference, signal);
    expect(registry.ledger.requests[0]).toMatchObject({ authorization: undefined, status: 401 });
  });

  it.each(['ftp://auth.example.com/token', 'http://user:secret@127.0.0.1/token', 'no url', ''])(
    'follows no challenge to %p',
    async (realm) => {
      registry.behaviour.auth = { ...OPEN, realm };
      const resolved = test.client.resolve(reference, signal);
      await expect(resolved).rejects.toMatchObject({ reason: 'registry_error' });
      await expect(resolved).rejects.not.toThrow(/secret|example/);
    },
  );

  it('takes a token service that has a moment', async () => {
    registry.faults.add(/ \/token$/, { kind: 'status', status: 502 });
    await expect(test.client.resolve(reference, signal)).resolves.toBeDefined();
    expect(tokens()).toBe(2);
  });

  it('hands on how long a token service wants to be left alone', async () => {
    registry.faults.add(/ \/token$/, { kind: 'status', status: 429, headers: { 'retry-after': '7200' } });
    await expect(test.client.resolve(reference, signal)).rejects.toMatchObject({
      reason: 'rate_limited',
      retryAfterMs: 7_200_000,
    });
    expect(tokens()).toBe(1);
  });

  it.each([
    ['an answer without a token', '{"token":""}'],
    ['a token that would be two headers', '{"token":"a\\r\\nx: y"}'],
    ['no JSON', '<html>secret body</html>'],
  ])('refuses %s', async (_, body) => {
    const service = createServer((_request, response) => response.end(body)).listen(0, '127.0.0.1');
    await new Promise((resolve) => service.once('listening', resolve));
    const { port } = service.address() as { port: number };
    registry.behaviour.auth = { ...OPEN, realm: `http://127.0.0.1:${port}/token` };
    const resolved = test.client.resolve(reference, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'registry_error' });
    await expect(resolved).rejects.not.toThrow(/secret/);
    service.close();
  });
});
