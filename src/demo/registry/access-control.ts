import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';

import type { Clock } from '../../common/clock.js';
import { sendError, sendJson } from './answers.js';
import type { RegistryAuth, RegistryBehaviour } from './registry-behaviour.js';

type TokenAuth = Extract<RegistryAuth, { kind: 'token' }>;

const SERVICE = 'demo-registry';

/** Who may read and write a registry; its token service too. */
export class AccessControl {
  private readonly tokens = new Map<
    string,
    { readonly scopes: readonly string[]; readonly untilMs: number }
  >();

  constructor(
    private readonly behaviour: RegistryBehaviour,
    private readonly clock: Clock,
  ) {}

  /** Whether the request may go on; if not, the challenge has been sent. */
  admits(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string | undefined,
    url: string,
  ): boolean {
    const { auth } = this.behaviour;
    const { authorization = '' } = request.headers;
    if (auth.kind === 'none') return true;
    if (auth.kind === 'basic') {
      if (authorization === basic(auth.username, auth.password)) return true;
      response.setHeader('www-authenticate', `Basic realm="${SERVICE}"`);
    } else {
      const actions = request.method === 'GET' || request.method === 'HEAD' ? ['pull'] : ['pull', 'push'];
      if (this.holds(authorization, repository, actions)) return true;
      const scopePart =
        repository === undefined ? '' : `,scope="repository:${repository}:${actions.join(',')}"`;
      const realm = auth.realm ?? `${url}/token`;
      response.setHeader('www-authenticate', `Bearer realm="${realm}",service="${SERVICE}"${scopePart}`);
    }
    sendError(response, 401, 'UNAUTHORIZED');
    return false;
  }

  /** The token service: GET with Basic, or POST with a refresh token. */
  async serveToken(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { auth } = this.behaviour;
    if (auth.kind !== 'token') {
      sendError(response, 404, 'NOT_FOUND');
      return;
    }
    const form = new URLSearchParams(request.method === 'POST' ? await text(request) : url.search);
    if (form.get('service') !== SERVICE || !this.knows(auth, request, form)) {
      sendError(response, 401, 'UNAUTHORIZED');
      return;
    }
    this.forgetExpired();
    const token = randomBytes(24).toString('base64url');
    this.tokens.set(token, {
      scopes: form.getAll('scope'),
      untilMs: this.clock.monotonicMs() + auth.expiresInMs,
    });
    sendJson(response, 200, {
      [auth.field ?? 'token']: token,
      ...(auth.tellsExpiry === false ? {} : { expires_in: auth.expiresInMs / 1000 }),
    });
  }

  /** As if the registry had been restarted: no token is good any more. */
  revokeTokens(): void {
    this.tokens.clear();
  }

  private holds(authorization: string, repository: string | undefined, actions: readonly string[]): boolean {
    const token = this.tokens.get(authorization.replace(/^Bearer /, ''));
    if (!token || token.untilMs <= this.clock.monotonicMs()) return false;
    if (repository === undefined) return true;
    const prefix = `repository:${repository}:`;
    const granted = token.scopes
      .filter((scope) => scope.startsWith(prefix))
      .flatMap((scope) => scope.slice(prefix.length).split(','));
    return actions.every((action) => granted.includes(action));
  }

  private knows(auth: TokenAuth, request: IncomingMessage, form: URLSearchParams): boolean {
    if (request.method === 'POST') {
      return auth.identityToken !== undefined && form.get('refresh_token') === auth.identityToken;
    }
    if (auth.username === undefined) return auth.identityToken === undefined;
    return request.headers.authorization === basic(auth.username, auth.password ?? '');
  }

  private forgetExpired(): void {
    const now = this.clock.monotonicMs();
    for (const [token, { untilMs }] of this.tokens) if (untilMs <= now) this.tokens.delete(token);
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
