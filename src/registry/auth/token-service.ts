import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';

import { Clock } from '../../common/clock.js';
import { PreheatFailure } from '../../domain/errors.js';
import { parseShallowJson } from '../../domain/shallow-json.js';
import { readBody } from '../http/read-body.js';
import { parseTarget, sendFollowing } from '../http/redirects.js';
import { discard, RegistryTransport } from '../http/registry-transport.js';
import { parseRetryAfterMs } from '../http/retry-after.js';
import type { RegistryEndpoint } from '../registry-endpoint.js';
import { statusFailure } from '../registry-errors.js';
import { basicAuthorization, type RegistryCredential } from './registry-credential.js';

/** A `Bearer` challenge, read: where to get a token, and for what. */
export interface BearerChallenge {
  readonly realm: string;
  readonly service?: string;
  /** Space-separated, as the challenge had it. */
  readonly scope: string;
}

export interface RegistryToken {
  readonly token: string;
  readonly expiresInMs: number;
}

const CLIENT_ID = 'image-preheat';
const MAX_ANSWER_BYTES = 256 * 1024;
/** What the specification says of an answer without `expires_in`. */
const DEFAULT_EXPIRY_S = 60;
const MAX_EXPIRY_S = 24 * 60 * 60;

const answer = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().optional(),
});

/** Fetches tokens as the distribution specification describes: by GET, or by OAuth 2 when all we have is a refresh token. */
@Injectable()
export class TokenService {
  constructor(
    private readonly transport: RegistryTransport,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** @throws PreheatFailure `unauthorized` when the credential is refused, else as the registry's own failures */
  async fetch(
    endpoint: RegistryEndpoint,
    challenge: BearerChallenge,
    credential: RegistryCredential | undefined,
    signal: AbortSignal,
  ): Promise<RegistryToken> {
    // Unlike a redirect, a realm has nothing that it could be relative to.
    const absolute = URL.canParse(challenge.realm) ? challenge.realm : undefined;
    const realm = parseTarget(absolute, new URL(endpoint.origin), endpoint);
    const request =
      credential?.kind === 'identity-token'
        ? oauthRequest(realm, challenge, credential.token)
        : getRequest(realm, challenge, credential);
    const authorization =
      credential?.kind === 'password'
        ? basicAuthorization(credential.username, credential.password)
        : undefined;
    const { response } = await sendFollowing(this.transport, endpoint, request, authorization, signal);
    const what = `token for ${endpoint.registry}`;
    if (response.status !== 200) {
      discard(response);
      // Some services answer 400 to a refresh token that has expired.
      const status = response.status === 400 && credential ? 401 : response.status;
      const retryAfterMs = parseRetryAfterMs(response.header('retry-after'), this.clock.wallMs());
      throw statusFailure(status, what, { retryAfterMs, withCredentials: credential !== undefined });
    }
    return parseAnswer(await readBody(response, what, MAX_ANSWER_BYTES, signal), what);
  }
}

function getRequest(
  realm: URL,
  { service, scope }: BearerChallenge,
  credential: RegistryCredential | undefined,
): { method: 'GET'; url: URL; headers: Record<string, string> } {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const part of scope.split(' ')) url.searchParams.append('scope', part);
  url.searchParams.set('client_id', CLIENT_ID);
  if (credential?.kind === 'password') url.searchParams.set('account', credential.username);
  return { method: 'GET', url, headers: { accept: 'application/json' } };
}

function oauthRequest(
  url: URL,
  { service, scope }: BearerChallenge,
  refreshToken: string,
): { method: 'POST'; url: URL; headers: Record<string, string>; body: string } {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
    client_id: CLIENT_ID,
    scope,
  });
  if (service !== undefined) form.set('service', service);
  const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', url, headers, body: form.toString() };
}

function parseAnswer(body: Buffer, what: string): RegistryToken {
  const parsed = answer.safeParse(parseJson(body));
  const token = [parsed.data?.token, parsed.data?.access_token].find((text) => text);
  // It goes into a header: what would not be one header value is no token.
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) {
    throw new PreheatFailure('registry_error', `${what}: the answer holds no token`);
  }
  const expiresIn = parsed.data?.expires_in ?? 0;
  return { token, expiresInMs: 1000 * Math.min(expiresIn > 0 ? expiresIn : DEFAULT_EXPIRY_S, MAX_EXPIRY_S) };
}

function parseJson(body: Buffer): unknown {
  try {
    return parseShallowJson(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
