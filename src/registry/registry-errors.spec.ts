import { PreheatFailure } from '../domain/errors.js';
import { networkFailure, statusFailure, TransientFailure } from './registry-errors.js';

describe('networkFailure', () => {
  it('names the code and nothing else of the cause', () => {
    const cause = Object.assign(new Error('GET https://r.test/?token=secret'), { code: 'ECONNRESET' });
    const failure = networkFailure('r.test', cause);
    expect(failure).toBeInstanceOf(TransientFailure);
    expect(failure).toMatchObject({
      reason: 'registry_unreachable',
      message: 'r.test: the connection failed (ECONNRESET)',
    });
  });

  it('does not retry a certificate that is not trusted', () => {
    const failure = networkFailure('r.test', { code: 'SELF_SIGNED_CERT_IN_CHAIN' });
    expect(failure).not.toBeInstanceOf(TransientFailure);
    expect(failure.message).toContain('REGISTRY_CERTS_DIR');
  });

  it.each([
    ['CERT_HAS_EXPIRED', /the certificate has expired/],
    ['CERT_NOT_YET_VALID', /is not valid yet/],
    ['ERR_TLS_CERT_ALTNAME_INVALID', /is for another name/],
  ])('says of a certificate with %s what is wrong, and not that its CA is missing', (code, words) => {
    const failure = networkFailure('r.test', { code });
    expect(failure).not.toBeInstanceOf(TransientFailure);
    expect(failure.message).toMatch(words);
    expect(failure.message).not.toContain('REGISTRY_CERTS_DIR');
  });

  it('leaves a failure that has its reason alone', () => {
    const failure = new PreheatFailure('corrupt', 'as it was');
    expect(networkFailure('r.test', failure)).toBe(failure);
  });
});

describe('statusFailure', () => {
  it('tells a refused credential from one that is missing', () => {
    const messages = [true, false, undefined].map(
      (withCredentials) =>
        statusFailure(403, 'blob', withCredentials === undefined ? {} : { withCredentials }).message,
    );
    expect(messages).toEqual([
      'blob: access denied with the configured credentials (HTTP 403)',
      'blob: access denied without credentials (HTTP 403)',
      'blob: access denied (HTTP 403)',
    ]);
  });

  it.each<[number, string, boolean]>([
    [401, 'unauthorized', false],
    [403, 'unauthorized', false],
    [404, 'not_found', false],
    [408, 'registry_error', true],
    [416, 'registry_error', false],
    [429, 'rate_limited', true],
    [500, 'registry_error', true],
    [599, 'registry_error', true],
  ])('%d is %s, transient: %s', (status, reason, transient) => {
    const failure = statusFailure(status, 'blob', { retryAfterMs: 7 });
    expect(failure.reason).toBe(reason);
    expect(failure instanceof TransientFailure).toBe(transient);
    expect(failure.retryAfterMs).toBe(transient ? 7 : undefined);
  });
});
