import fc from 'fast-check';

import { parseNoProxyRule, ProxyRules } from './proxy-rules.js';

const PROXY = 'http://proxy.example.com:3128/';
const rules = (...noProxy: string[]): ProxyRules =>
  new ProxyRules({ httpsProxy: PROXY, httpProxy: 'http://plain.example.com/', noProxy });
const proxied = (url: string, ...noProxy: string[]): boolean =>
  rules(...noProxy).proxyFor(new URL(url)) !== undefined;

describe('ProxyRules', () => {
  it('takes the proxy of the scheme', () => {
    expect(rules().proxyFor(new URL('https://registry.example.com'))).toBe(PROXY);
    expect(rules().proxyFor(new URL('http://registry.example.com'))).toBe('http://plain.example.com/');
    const none = new ProxyRules({ noProxy: [] });
    expect(none.proxyFor(new URL('https://registry.example.com'))).toBeUndefined();
  });

  it('reads a proxy without a scheme as http', () => {
    const { httpsProxy } = { httpsProxy: 'proxy:3128' };
    expect(new ProxyRules({ httpsProxy, noProxy: [] }).proxyFor(new URL('https://r.test'))).toBe(
      'http://proxy:3128/',
    );
  });

  it('refuses what is no proxy, without showing it', () => {
    const secret = 'ftp://user:secret@proxy';
    expect(() => new ProxyRules({ httpsProxy: secret, noProxy: [] })).toThrow(/^HTTPS_PROXY is not a proxy/);
    expect(() => new ProxyRules({ httpsProxy: secret, noProxy: [] })).not.toThrow(/secret/);
  });

  it.each(['http://127.0.0.1:5000', 'http://localhost:5000', 'https://[::1]', 'http://a.localhost'])(
    'never proxies %s',
    (url) => {
      expect(proxied(url)).toBe(false);
    },
  );

  it.each<[string, string, boolean]>([
    ['https://registry.example.com', '*', false],
    ['https://registry.example.com', 'example.com', false],
    ['https://example.com', 'example.com', false],
    ['https://notexample.com', 'example.com', true],
    ['https://example.com', '.example.com', true],
    ['https://a.b.example.com', '.example.com', false],
    ['https://a.example.com', '*.example.com', false],
    ['https://example.com', '*.example.com', true],
    ['https://EXAMPLE.com.', 'Example.COM', false],
    ['https://example.com', 'example.com:443', false],
    ['https://example.com', 'example.com:5000', true],
    ['https://example.com:5000', 'example.com:5000', false],
    ['https://10.1.2.3', '10.0.0.0/8', false],
    ['https://11.1.2.3', '10.0.0.0/8', true],
    ['https://[fd00::5]', 'fd00::/8', false],
    ['https://[::ffff:10.0.0.1]', '10.0.0.0/8', false],
    ['https://[fd00::5]:5000', '[fd00::5]:5000', false],
    ['https://[fd00::5]', 'FD00:0::5', false],
    ['https://ten.example.com', '10.0.0.0/8', true],
    ['https://192.168.1.1', '192.168.1.1', false],
    ['https://192.168.1.10', '192.168.1.1', true],
    ['https://registry.example.com', ' ', true],
  ])('%s with NO_PROXY=%s', (url, noProxy, expected) => {
    expect(proxied(url, noProxy)).toBe(expected);
  });

  it('has a rule for a domain that holds for each of its subdomains, and for no other', () => {
    const label = fc.stringMatching(/^[a-z]{1,8}$/);
    fc.assert(
      fc.property(label, label, label, (sub, name, top) => {
        const rule = parseNoProxyRule(`${name}.${top}`);
        expect(rule?.(`${sub}.${name}.${top}`, '443')).toBe(true);
        expect(rule?.(`${sub}${name}.${top}`, '443')).toBe(false);
      }),
    );
  });

  it('survives any entry', () => {
    fc.assert(
      fc.property(fc.string(), fc.domain(), (entry, host) => {
        const rule = parseNoProxyRule(entry);
        expect(['boolean', 'undefined']).toContain(typeof rule?.(host, '443'));
      }),
    );
  });
});
