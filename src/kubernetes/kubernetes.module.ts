import { Module } from '@nestjs/common';

import { KubernetesClient } from './kubernetes-client.js';

/** Nothing is loaded and nobody is called before the first use: outside a cluster it may stay idle. */
@Module({ providers: [KubernetesClient], exports: [KubernetesClient] })
export class KubernetesModule {}
