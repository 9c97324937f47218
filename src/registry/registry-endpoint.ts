import { isLoopbackHost } from './net/address.js';

/** Where a registry answers, and how far it is to be trusted with plain HTTP. */
export interface RegistryEndpoint {
  /** As references name it: `docker.io`, `registry.example.com:5000`. Credentials are filed under it. */
  readonly registry: string;
  /** `https://registry-1.docker.io`, without a path. */
  readonly origin: string;
  /** Loopback, or named by `INSECURE_REGISTRIES`: spoken to in plain HTTP. */
  readonly insecure: boolean;
  /** `INSECURE_REGISTRIES` as `URL.host` writes them: where it may send us in plain HTTP, if it is insecure itself. */
  readonly insecureHosts: readonly string[];
}

/** @param insecure `INSECURE_REGISTRIES`: hosts with their ports, as references write them */
export function registryEndpoint(registry: string, insecure: readonly string[]): RegistryEndpoint {
  // Docker Hub's API does not answer under the name its references carry.
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
  const plainHttp =
    isLoopbackHost(new URL(`http://${host}`).hostname) ||
    insecure.some((entry) => entry.toLowerCase() === registry.toLowerCase());
  return {
    registry,
    origin: new URL(`${plainHttp ? 'http' : 'https'}://${host}`).origin,
    insecure: plainHttp,
    insecureHosts: insecure.map((entry) => new URL(`http://${entry}`).host),
  };
}

/**
 * Whether the registry may send us to this host in plain HTTP. Its own answers may be anybody's, who could send us to
 * every server inside: only to its own host, to hosts of `INSECURE_REGISTRIES`, and to loopback if it is there itself.
 */
export function mayUsePlainHttp({ origin, insecure, insecureHosts }: RegistryEndpoint, url: URL): boolean {
  if (!insecure) return false;
  const { hostname } = new URL(origin);
  if (url.hostname === hostname || insecureHosts.includes(url.host)) return true;
  return isLoopbackHost(hostname) && isLoopbackHost(url.hostname);
}
