import { Inject, Injectable } from '@nestjs/common';

import { backoffMs } from '../common/backoff.js';
import { Clock } from '../common/clock.js';
import { RegistryAuthenticator } from './auth/registry-authenticator.js';
import { ANONYMOUS } from './auth/registry-credential.js';
import { type FollowedResponse, sendFollowing } from './http/redirects.js';
import {
  discard,
  type RegistryRequest,
  type RegistryResponse,
  RegistryTransport,
} from './http/registry-transport.js';
import { parseRetryAfterMs } from './http/retry-after.js';
import type { RegistryEndpoint } from './registry-endpoint.js';
import { statusFailure, TransientFailure } from './registry-errors.js';

/** One question to a registry. */
export interface RegistryQuestion {
  readonly endpoint: RegistryEndpoint;
  readonly repository: string;
  readonly method: 'GET' | 'HEAD';
  /** Below the repository: `manifests/latest`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** For messages: `manifest latest of docker.io/library/nginx`. */
  readonly what: string;
}

const MAX_ATTEMPTS = 3;
/** Longer waits are not ours: the caller gives its turn back meanwhile. */
const MAX_WAIT_MS = 5_000;
const BACKOFF = { initialMs: 500, maxMs: 4_000 };
/** One for what we had, one for what the challenge brings, one for a credential that has changed meanwhile. */
const MAX_SENDS = 3;

/** Asks a registry until it answers 200 or 206: meets challenges, follows redirects, retries what may pass within seconds. */
@Injectable()
export class RegistryRequester {
  constructor(
    private readonly transport: RegistryTransport,
    private readonly authenticator: RegistryAuthenticator,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** Runs `work`, which asks and reads one answer, again after a `TransientFailure`: 3 times at most, with back-off. */
  async withRetries<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof TransientFailure) || attempt === MAX_ATTEMPTS) throw error;
        const waitMs = error.retryAfterMs ?? backoffMs(attempt, BACKOFF);
        if (waitMs > MAX_WAIT_MS) throw error;
        await this.clock.sleep(waitMs, signal);
      }
    }
  }

  /**
   * One attempt, from the registry itself: a redirect's URL may have expired, so it is never used twice.
   * @throws PreheatFailure `unauthorized`, `not_found`, `rate_limited`, `registry_error`, `registry_unreachable`
   */
  async ask(question: RegistryQuestion, signal: AbortSignal): Promise<RegistryResponse> {
    const { response, redirected, withCredentials } = await this.exchange(question, signal);
    const { status } = response;
    if (status === 200 || status === 206) return response;
    discard(response);
    const retryAfterMs = parseRetryAfterMs(response.header('retry-after'), this.clock.wallMs());
    if (!redirected) throw statusFailure(status, question.what, { retryAfterMs, withCredentials });
    const failure = statusFailure(status, question.what, { retryAfterMs });
    // Storage that refuses a signed URL: it has expired, and the registry hands out another.
    if ([400, 401, 403].includes(status)) throw new TransientFailure(failure.reason, failure.message);
    throw failure;
  }

  private async exchange(
    { endpoint, repository, method, path, headers }: RegistryQuestion,
    signal: AbortSignal,
  ): Promise<FollowedResponse & { withCredentials: boolean }> {
    const url = new URL(`/v2/${repository}/${path}`, endpoint.origin);
    const request: RegistryRequest = { method, url, headers };
    let authorization = await this.authenticator.known(endpoint, repository, signal);
    for (let sends = 1; ; sends++) {
      const followed = await sendFollowing(this.transport, endpoint, request, authorization?.header, signal);
      const { response, redirected } = followed;
      const withCredentials = authorization !== undefined && authorization.credentialId !== ANONYMOUS;
      const outcome = { ...followed, withCredentials };
      if (response.status !== 401 || redirected || sends === MAX_SENDS) return outcome;
      discard(response);
      const challenge = response.header('www-authenticate');
      const answer = await this.authenticator.answer(endpoint, repository, challenge, authorization, signal);
      if (answer === undefined) return outcome;
      authorization = answer;
    }
  }
}
