import fc from 'fast-check';

import { canonicalIp, formatAddress, parseAddress, uniqueAddresses } from './peer-address.js';

describe('peer addresses', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['fd00:0:0::1', 'fd00::1'],
    ['FD00::A', 'fd00::a'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::1', '::1'],
  ])('spells %s as %s', (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
  });

  it.each(['', 'node-1', '127.1', '0x7f000001', '10.0.0.256', '::g'])(
    'takes "%s" for no IP address',
    (text) => {
      expect(canonicalIp(text)).toBeUndefined();
    },
  );

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 1, max: 65_535 }), (ip, port) => {
        const address = { host: canonicalIp(ip)!, port };
        expect(parseAddress(formatAddress(address))).toEqual(address);
      }),
    );
  });

  it.each(['10.0.0.1', '10.0.0.1:0', '10.0.0.1:65536', 'fd00::1:80', '[fd00::1]', 'host:80', ':80', '[]:80'])(
    'takes "%s" for no address',
    (text) => {
      expect(parseAddress(text)).toBeUndefined();
    },
  );

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseAddress(text);
      }),
    );
  });

  it('gives each address once', () => {
    const hosts = ['::ffff:10.0.0.1', '10.0.0.1', 'fd00::1', 'fd00:0::1'];
    expect(uniqueAddresses(hosts.map((host) => ({ host, port: 1 })))).toEqual([
      { host: '10.0.0.1', port: 1 },
      { host: 'fd00::1', port: 1 },
    ]);
  });
});
