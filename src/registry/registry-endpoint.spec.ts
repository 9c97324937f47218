import { registryEndpoint } from './registry-endpoint.js';

describe('registryEndpoint', () => {
  it.each<[string, string, boolean]>([
    ['docker.io', 'https://registry-1.docker.io', false],
    ['registry.example.com', 'https://registry.example.com', false],
    ['registry.example.com:5000', 'https://registry.example.com:5000', false],
    ['Registry.Example.com:443', 'https://registry.example.com', false],
    ['[2001:db8::1]:5000', 'https://[2001:db8::1]:5000', false],
    ['127.0.0.1:5000', 'http://127.0.0.1:5000', true],
    ['localhost', 'http://localhost', true],
    ['[::1]:5000', 'http://[::1]:5000', true],
    ['plain.example.com:5000', 'http://plain.example.com:5000', true],
    ['plain.example.com', 'https://plain.example.com', false],
  ])('%s answers at %s', (registry, origin, insecure) => {
    expect(registryEndpoint(registry, ['Plain.example.com:5000'])).toEqual({ registry, origin, insecure });
  });
});
