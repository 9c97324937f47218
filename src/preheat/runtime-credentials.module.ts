import { Global, Module } from '@nestjs/common';

import { CredentialStore } from '../registry/auth/credential-store.js';
import { RegistryModule } from '../registry/registry.module.js';
import { RegistryAuth, type RegistryCredentials } from '../runtime/registry-auth.js';

/** Lends the registries' credentials to the runtime, for the one manifest that Docker asks a registry for itself. */
@Global()
@Module({
  imports: [RegistryModule],
  providers: [
    {
      provide: RegistryAuth,
      inject: [CredentialStore],
      useFactory: (store: CredentialStore): RegistryAuth => ({
        forRepository: async ({ registry, repository }, signal): Promise<RegistryCredentials | undefined> => {
          const credential = await store.find(registry, repository, signal);
          if (!credential) return undefined;
          if (credential.kind === 'identity-token') return { identitytoken: credential.token };
          return { username: credential.username, password: credential.password };
        },
      }),
    },
  ],
  exports: [RegistryAuth],
})
export class RuntimeCredentialsModule {}
