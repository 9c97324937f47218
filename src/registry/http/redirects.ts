import { PreheatFailure } from '../../domain/errors.js';
import { mayUsePlainHttp, type RegistryEndpoint } from '../registry-endpoint.js';
import {
  discard,
  type RegistryRequest,
  type RegistryResponse,
  type RegistryTransport,
} from './registry-transport.js';

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MAX_REDIRECTS = 5;

export interface FollowedResponse {
  readonly response: RegistryResponse;
  /** True when another request than the first one was answered: what it says of authorization is not the registry's word. */
  readonly redirected: boolean;
}

/**
 * Sends a request and follows its redirects by hand. `authorization` goes to the first origin alone: not to another
 * host, port or scheme, nor back from there. A POST is not followed: its body may be a credential.
 * @throws PreheatFailure `registry_error` for a redirect that may not be followed; else as `RegistryTransport.send`
 */
export async function sendFollowing(
  transport: RegistryTransport,
  endpoint: RegistryEndpoint,
  request: RegistryRequest,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<FollowedResponse> {
  let url = request.url;
  let credentials = authorization === undefined ? {} : { authorization };
  for (let redirects = 0; ; redirects++) {
    const headers = { ...request.headers, ...credentials };
    const response = await transport.send(endpoint, { ...request, url, headers }, signal);
    if (!REDIRECTS.has(response.status)) return { response, redirected: redirects > 0 };
    discard(response);
    if (request.method === 'POST')
      throw new PreheatFailure('registry_error', `${url.host} redirects a POST, which is not followed`);
    if (redirects === MAX_REDIRECTS)
      throw new PreheatFailure('registry_error', `${url.host} redirects too often`);
    const next = parseTarget(response.header('location'), url, endpoint);
    if (next.origin !== url.origin) credentials = {};
    url = next;
  }
}

/**
 * A URL that a registry sends us to. It must be HTTPS; a registry that is spoken to in plain HTTP itself may send us to
 * plain HTTP on its own host and on those of `INSECURE_REGISTRIES`. Where it leads is the transport's to check, once its
 * name is resolved.
 * @throws PreheatFailure `registry_error`; the URL is not shown, since its query may be a credential
 */
export function parseTarget(text: string | undefined, base: URL, endpoint: RegistryEndpoint): URL {
  const refuse = (why: string): never => {
    throw new PreheatFailure('registry_error', `${base.host} sends its clients to a URL that ${why}`);
  };
  const url = text === undefined ? null : URL.parse(text, base.href);
  if (url === null) return refuse('does not parse');
  if (url.username !== '' || url.password !== '') return refuse('contains credentials');
  if (url.protocol === 'https:') return url;
  if (url.protocol !== 'http:' || !endpoint.insecure) return refuse('is not HTTPS');
  if (!mayUsePlainHttp(endpoint, url))
    return refuse('is not HTTPS, and whose host INSECURE_REGISTRIES does not name');
  return url;
}
