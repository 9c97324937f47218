import { parseResolvConf } from './resolv-conf.js';

describe('resolv.conf', () => {
  it('is read as resolv.conf(5) says: the last search counts', () => {
    const text = '# by kubelet\nnameserver 10.96.0.10\ndomain old\nsearch  a.example. b.example ; rest\n';
    expect(parseResolvConf(text)).toEqual({ search: ['a.example', 'b.example'] });
    expect(parseResolvConf('')).toEqual({ search: [] });
  });
});
