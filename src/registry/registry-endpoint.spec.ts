import { mayUsePlainHttp, registryEndpoint } from './registry-endpoint.js';

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
    expect(registryEndpoint(registry, ['Plain.example.com:5000'])).toEqual({
      registry,
      origin,
      insecure,
      insecureHosts: ['plain.example.com:5000'],
    });
  });
});

describe('mayUsePlainHttp', () => {
  const INSECURE = ['plain.example.com:5000', 'Storage.example.com', '[2001:db8::1]:80'];

  it.each<[string, string, boolean]>([
    ['plain.example.com:5000', 'http://plain.example.com:5000/x', true],
    ['plain.example.com:5000', 'http://plain.example.com/x', true],
    ['plain.example.com:5000', 'http://storage.example.com/x', true],
    ['plain.example.com:5000', 'http://[2001:db8::1]/x', true],
    ['plain.example.com:5000', 'http://storage.example.com:9000/x', false],
    ['plain.example.com:5000', 'http://intranet.example.com/x', false],
    ['plain.example.com:5000', 'http://127.0.0.1:9000/x', false],
    ['127.0.0.1:5000', 'http://localhost:9000/x', true],
    ['127.0.0.1:5000', 'http://intranet.example.com/x', false],
    ['registry.example.com', 'http://plain.example.com:5000/x', false],
    ['registry.example.com', 'http://registry.example.com/x', false],
  ])('from %s to %s: %s', (registry, url, allowed) => {
    expect(mayUsePlainHttp(registryEndpoint(registry, INSECURE), new URL(url))).toBe(allowed);
  });
});
