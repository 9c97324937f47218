import { Module } from '@nestjs/common';

import { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { CredentialHelper, runCredentialHelper } from './auth/credential-helper.js';
import { CredentialStore } from './auth/credential-store.js';
import { RegistryAuthenticator } from './auth/registry-authenticator.js';
import { TokenService } from './auth/token-service.js';
import { RegistryTransport } from './http/registry-transport.js';
import { CertificateStore } from './net/certificate-store.js';
import { HostLookup, systemHostLookup } from './net/host-lookup.js';
import { RegistryByteCounter } from './registry-byte-counter.js';
import { RegistryClient } from './registry-client.js';
import { RegistryRequester } from './registry-requester.js';

/** OCI distribution client. Needs the global configuration and metrics modules. */
@Module({
  providers: [
    CertificateStore,
    CredentialStore,
    RegistryAuthenticator,
    RegistryClient,
    RegistryRequester,
    RegistryTransport,
    TokenService,
    { provide: CredentialHelper, useValue: runCredentialHelper },
    { provide: RegistryByteCounter, useExisting: PreheatMetrics },
    { provide: HostLookup, useValue: systemHostLookup },
  ],
  exports: [CredentialStore, RegistryClient],
})
export class RegistryModule {}
