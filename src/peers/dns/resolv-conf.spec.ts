import { candidateNames, parseResolvConf } from './resolv-conf.js';

describe('resolv.conf', () => {
  it('is read as resolv.conf(5) says: the last search counts', () => {
    const text = '# by kubelet\nnameserver 10.96.0.10\ndomain old\nsearch  a.example. b.example ; rest\n';
    expect(parseResolvConf(text)).toEqual({ search: ['a.example', 'b.example'] });
    expect(parseResolvConf('')).toEqual({ search: [] });
  });

  it.each([
    ['a complete name', 'peers.example.', ['peers.example']],
    ['a name with dots', 'peers.ns.svc', ['peers.ns.svc', 'peers.ns.svc.a', 'peers.ns.svc.b']],
    ['a name without dots', 'peers', ['peers.a', 'peers.b', 'peers']],
  ])('says what to ask for: %s', (_kind, name, expected) => {
    expect(candidateNames(name, { search: ['a', 'b'] })).toEqual(expected);
  });
});
