import { isLoopbackHost } from './net/address.js';

/** Where a registry answers, and how far it is to be trusted with plain HTTP. */
export interface RegistryEndpoint {
  /** As references name it: `docker.io`, `registry.example.com:5000`. Credentials are filed under it. */
  readonly registry: string;
  /** `https://registry-1.docker.io`, without a path. */
  readonly origin: string;
  /** Loopback, or named by `INSECURE_REGISTRIES`: spoken to in plain HTTP, and it may send us to plain HTTP. */
  readonly insecure: boolean;
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
  };
}
