import { Test, type TestingModule } from '@nestjs/testing';

import type { AppConfig } from '../../src/config/app-config.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { parseImageReference } from '../../src/domain/image-reference.js';
import { MetricsModule } from '../../src/metrics/metrics.module.js';
import { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { RegistryClient } from '../../src/registry/registry-client.js';
import { RegistryModule } from '../../src/registry/registry.module.js';
import { putSmallImage } from '../support/small-image.js';

describe('RegistryModule', () => {
  let module: TestingModule;
  let registry: DemoRegistry;

  beforeAll(async () => {
    registry = await DemoRegistry.start();
    const config: Pick<AppConfig, 'nodeName' | 'pullingTimeoutMs' | 'registry'> = {
      nodeName: 'node',
      pullingTimeoutMs: 60_000,
      registry: {
        credentialsFile: '/nonexistent',
        certsDir: '/nonexistent',
        insecure: [],
        proxy: { noProxy: [] },
      },
    };
    module = await Test.createTestingModule({
      imports: [ConfigModule.forRoot(config as AppConfig), MetricsModule, RegistryModule],
    }).compile();
    await module.init();
  });
  afterAll(async () => {
    await module.close();
    await registry.stop();
  });

  it('gives a client whose bytes are in the metrics', async () => {
    const image = await putSmallImage(registry, 'team/app', '1.0');
    const counted = jest.spyOn(module.get(PreheatMetrics), 'registryBytes');
    const { signal } = new AbortController();
    const reference = parseImageReference(`${registry.host}/team/app:1.0`);
    const { stream } = await module
      .get(RegistryClient)
      .blob(reference, image.blobDigest, { start: 0 }, signal);
    let size = 0;
    for await (const part of stream as AsyncIterable<Buffer>) size += part.length;
    expect(size).toBe(image.blob.length);
    expect(counted.mock.calls.reduce((sum, [bytes]) => sum + bytes, 0)).toBe(size);
  });
});
