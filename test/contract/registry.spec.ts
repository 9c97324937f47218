import { describeWith } from '../support/engines.js';
import { startDemoRegistry, startDockerRegistry } from '../support/registry-under-test.js';
import { describeRegistryContract } from './registry.contract.js';

describe('RegistryClient over the demo registry', () => describeRegistryContract(startDemoRegistry));

describeWith(['docker-registry', 'htpasswd'], 'RegistryClient over docker-registry', () =>
  describeRegistryContract(startDockerRegistry),
);
