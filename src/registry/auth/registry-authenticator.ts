import { Inject, Injectable } from '@nestjs/common';

import { Clock } from '../../common/clock.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { RegistryEndpoint } from '../registry-endpoint.js';
import { CredentialStore } from './credential-store.js';
import { basicAuthorization, credentialId, type RegistryCredential } from './registry-credential.js';
import { SharedCalls } from './shared-calls.js';
import { type AuthorizationKey, TokenCache } from './token-cache.js';
import { type BearerChallenge, TokenService } from './token-service.js';
import { type AuthChallenge, parseChallenges } from './www-authenticate.js';

/** What to send in `Authorization`, and what is needed to judge a refusal of it. */
export interface Authorization {
  readonly header: string;
  readonly credentialId: string;
  /** Made in answer to this very exchange: asking again with the same credential would change nothing. */
  readonly fresh: boolean;
}

/**
 * Answers a registry's challenges. Nothing is sent before the registry has asked for it once; from then on each
 * request carries what was accepted last, and a token is renewed when half its life is over.
 */
@Injectable()
export class RegistryAuthenticator {
  private readonly cache = new TokenCache();
  private readonly tokenCalls = new SharedCalls<string>();

  constructor(
    private readonly credentials: CredentialStore,
    private readonly tokens: TokenService,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /** What this repository is known to want; undefined when it never asked. @throws PreheatFailure as `TokenService.fetch` */
  async known(
    endpoint: RegistryEndpoint,
    repository: string,
    signal: AbortSignal,
  ): Promise<Authorization | undefined> {
    const credential = await this.credentials.find(endpoint.registry, repository, signal);
    const key = { registry: endpoint.registry, repository, credentialId: credentialId(credential) };
    const entry = this.cache.get(key);
    if (!entry) return undefined;
    if (entry.scheme === 'basic' || this.clock.monotonicMs() < entry.renewAtMs) {
      return { header: entry.header, credentialId: key.credentialId, fresh: false };
    }
    try {
      const header = await this.fetchToken(endpoint, key, entry.challenge, credential, signal);
      return { header, credentialId: key.credentialId, fresh: true };
    } catch (error) {
      if (!isUnauthorized(error)) throw error;
      // Let the registry ask anew: `answer` then looks for a newer credential.
      this.cache.delete(key);
      return undefined;
    }
  }

  /**
   * What to answer a 401 of the registry itself with.
   * @param header its `WWW-Authenticate`
   * @param rejected what the refused request carried
   * @returns undefined when there is nothing better to send
   * @throws PreheatFailure as `TokenService.fetch`
   */
  async answer(
    endpoint: RegistryEndpoint,
    repository: string,
    header: string | undefined,
    rejected: Authorization | undefined,
    signal: AbortSignal,
  ): Promise<Authorization | undefined> {
    const { registry } = endpoint;
    if (rejected) {
      this.cache.delete({ registry, repository, credentialId: rejected.credentialId });
      this.credentials.reload();
    }
    const challenges = parseChallenges(header ?? '');
    let refusedId = rejected?.fresh ? rejected.credentialId : undefined;
    let refusal: PreheatFailure | undefined;
    for (;;) {
      const credential = await this.credentials.find(registry, repository, signal);
      const key = { registry, repository, credentialId: credentialId(credential) };
      if (key.credentialId === refusedId) {
        if (refusal) throw refusal;
        return undefined;
      }
      try {
        const answer = await this.meet(endpoint, key, challenges, credential, signal);
        if (answer === undefined || answer === rejected?.header) return undefined;
        return { header: answer, credentialId: key.credentialId, fresh: true };
      } catch (error) {
        if (!isUnauthorized(error) || refusal) throw error;
        // The token service refused what we had read earlier: see whether there is something newer, once.
        [refusal, refusedId] = [error, key.credentialId];
        this.credentials.reload();
      }
    }
  }

  /** Meets the best challenge we can: a token rather than the password itself. */
  private async meet(
    endpoint: RegistryEndpoint,
    key: AuthorizationKey,
    challenges: readonly AuthChallenge[],
    credential: RegistryCredential | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm'));
    if (bearer) {
      const challenge = readBearer(bearer, key.repository);
      return this.fetchToken(endpoint, key, challenge, credential, signal);
    }
    if (credential?.kind !== 'password' || !challenges.some(({ scheme }) => scheme === 'basic')) {
      return undefined;
    }
    const header = basicAuthorization(credential.username, credential.password);
    this.cache.set(key, { scheme: 'basic', header });
    return header;
  }

  private fetchToken(
    endpoint: RegistryEndpoint,
    key: AuthorizationKey,
    challenge: BearerChallenge,
    credential: RegistryCredential | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const work = async (shared: AbortSignal): Promise<string> => {
      // Its life began at the latest when we asked for it.
      const askedAtMs = this.clock.monotonicMs();
      const { token, expiresInMs } = await this.tokens.fetch(endpoint, challenge, credential, shared);
      const header = `Bearer ${token}`;
      this.cache.set(key, { scheme: 'bearer', header, challenge, renewAtMs: askedAtMs + expiresInMs / 2 });
      return header;
    };
    return this.tokenCalls.run(JSON.stringify([key, challenge]), work, signal);
  }
}

function readBearer({ params }: AuthChallenge, repository: string): BearerChallenge {
  const service = params.get('service');
  const scope = params.get('scope') ?? '';
  return {
    realm: params.get('realm') ?? '',
    ...(service === undefined ? {} : { service }),
    scope: scope === '' ? `repository:${repository}:pull` : scope,
  };
}

function isUnauthorized(error: unknown): error is PreheatFailure {
  return error instanceof PreheatFailure && error.reason === 'unauthorized';
}
