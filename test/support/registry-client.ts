import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Clock } from '../../src/common/clock.js';
import { systemClock } from '../../src/common/clock.js';
import type { AppConfig } from '../../src/config/app-config.js';
import { type CredentialHelper, runCredentialHelper } from '../../src/registry/auth/credential-helper.js';
import { CredentialStore } from '../../src/registry/auth/credential-store.js';
import { RegistryAuthenticator } from '../../src/registry/auth/registry-authenticator.js';
import { TokenService } from '../../src/registry/auth/token-service.js';
import { RegistryTransport } from '../../src/registry/http/registry-transport.js';
import { CertificateStore } from '../../src/registry/net/certificate-store.js';
import { type HostLookup, systemHostLookup } from '../../src/registry/net/host-lookup.js';
import { RegistryClient } from '../../src/registry/registry-client.js';
import { RegistryRequester } from '../../src/registry/registry-requester.js';

export interface TestRegistryClientOptions {
  readonly clock?: Clock;
  readonly lookup?: HostLookup;
  readonly helper?: CredentialHelper;
  readonly pullingTimeoutMs?: number;
  readonly insecure?: readonly string[];
  readonly proxy?: AppConfig['registry']['proxy'];
}

/** A `RegistryClient` as the module wires it, with its credentials and certificates in a temporary directory. */
export class TestRegistryClient {
  readonly client: RegistryClient;
  private readonly transport: RegistryTransport;
  /** Blob bytes that the client has counted as read. */
  registryBytes = 0;

  private constructor(
    readonly directory: string,
    options: TestRegistryClientOptions,
  ) {
    const { clock = systemClock, lookup = systemHostLookup, pullingTimeoutMs = 300_000 } = options;
    const { insecure = [], proxy = { noProxy: [] }, helper = runCredentialHelper } = options;
    const credentialsFile = join(directory, 'config.json');
    const config = {
      pullingTimeoutMs,
      registry: { credentialsFile, certsDir: join(directory, 'certs.d'), insecure, proxy },
    };
    this.transport = new RegistryTransport(config, new CertificateStore(config), lookup);
    const credentials = new CredentialStore(config, helper, clock);
    const tokens = new TokenService(this.transport, clock);
    const authenticator = new RegistryAuthenticator(credentials, tokens, clock);
    const requester = new RegistryRequester(this.transport, authenticator, clock);
    this.client = new RegistryClient(config, requester, {
      registryBytes: (bytes) => {
        this.registryBytes += bytes;
      },
    });
  }

  static async create(options: TestRegistryClientOptions = {}): Promise<TestRegistryClient> {
    return new TestRegistryClient(await mkdtemp(join(tmpdir(), 'regclient-')), options);
  }

  /** Writes `REGISTRY_CONFIG`. */
  async configure(dockerConfig: unknown): Promise<void> {
    await writeFile(join(this.directory, 'config.json'), JSON.stringify(dockerConfig));
  }

  /** Writes `REGISTRY_CONFIG` with one password. */
  async login(registry: string, username: string, password: string): Promise<void> {
    await this.configure({ auths: { [registry]: { username, password } } });
  }

  async dispose(): Promise<void> {
    await this.transport.onApplicationShutdown();
    await rm(this.directory, { recursive: true, force: true });
  }
}
