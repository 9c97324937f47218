import { PreheatFailure } from '../domain/errors.js';

/** A failure that may pass within seconds: worth another attempt inside one call. Escapes as what it is after the last. */
export class TransientFailure extends PreheatFailure {}

/** Codes of certificates that are not accepted: the next attempt meets the same one. */
const UNTRUSTED = /^(?:ERR_TLS_|CERT_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_)/;
const WHY_UNTRUSTED: ReadonlyMap<string, string> = new Map([
  ['CERT_HAS_EXPIRED', 'has expired, or this node’s clock is wrong'],
  ['CERT_NOT_YET_VALID', 'is not valid yet, or this node’s clock is wrong'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'is for another name'],
]);

/**
 * A connection that was not made, or broke.
 * @param what for the message: a host, or what was being read
 */
export function networkFailure(what: string, cause: unknown): PreheatFailure {
  if (cause instanceof PreheatFailure) return cause;
  const code = codeOf(cause);
  if (UNTRUSTED.test(code)) {
    const why = WHY_UNTRUSTED.get(code);
    const message = why
      ? `${why} (${code})`
      : `is not trusted (${code}); its CA belongs into REGISTRY_CERTS_DIR`;
    return new PreheatFailure('registry_unreachable', `${what}: the certificate ${message}`, { cause });
  }
  return new TransientFailure('registry_unreachable', `${what}: the connection failed (${code})`, { cause });
}

function codeOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  if (typeof code === 'string') return code;
  return typeof name === 'string' ? name : 'unknown error';
}

export interface StatusContext {
  readonly retryAfterMs?: number | undefined;
  /** Whether the refused request carried a credential of ours; undefined where that does not matter. */
  readonly withCredentials?: boolean;
}

/**
 * The failure that a status stands for.
 * @param what for the message: `manifest latest of docker.io/library/nginx`
 */
export function statusFailure(
  status: number,
  what: string,
  { retryAfterMs, withCredentials }: StatusContext = {},
): PreheatFailure {
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  const message = (why: string): string => `${what}: ${why} (HTTP ${status})`;
  if (status === 429) return new TransientFailure('rate_limited', message('too many requests'), options);
  if (status === 408 || status >= 500) {
    return new TransientFailure('registry_error', message('the registry has a problem'), options);
  }
  if (status === 401 || status === 403) {
    const how = withCredentials ? ' with the configured credentials' : ' without credentials';
    return new PreheatFailure(
      'unauthorized',
      message(`access denied${withCredentials === undefined ? '' : how}`),
    );
  }
  if (status === 404) return new PreheatFailure('not_found', message('not found'));
  return new PreheatFailure('registry_error', message('unexpected answer'));
}
