import { isLoopbackHost, isMetadataName, localPlaceOf } from './address.js';

describe('localPlaceOf', () => {
  it.each<[string, string | undefined]>([
    ['127.0.0.1', 'loopback'],
    ['127.255.0.3', 'loopback'],
    ['0.0.0.0', 'loopback'],
    ['0.1.2.3', 'loopback'],
    ['::', 'loopback'],
    ['::1', 'loopback'],
    ['[::1]', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::127.0.0.1', 'loopback'],
    ['::7f00:1', 'loopback'],
    ['::ffff:0:127.0.0.1', 'loopback'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['64:ff9b:1::7f00:1', 'loopback'],
    ['2002:7f00:1::', 'loopback'],
    ['2002:7f00:1:5::6', 'loopback'],
    ['169.254.169.254', 'link-local'],
    ['169.254.1.1', 'link-local'],
    ['::ffff:a9fe:a9fe', 'link-local'],
    ['64:ff9b::a9fe:a9fe', 'link-local'],
    ['2002:a9fe:a9fe::1', 'link-local'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['febf::1', 'link-local'],
    ['fd00:ec2::254', 'metadata'],
    ['fd00:ec2::23', 'metadata'],
    ['fd20:ce::254', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['64:ff9b::6464:64c8', 'metadata'],
    ['10.0.0.1', undefined],
    ['100.100.100.201', undefined],
    ['64:ff9b::a00:1', undefined],
    ['2002:a00:1::', undefined],
    ['2001:db8::7f00:1', undefined],
    ['fd00::1', undefined],
    ['fd00:ec3::254', undefined],
    ['fec0::1', undefined],
    ['example.com', undefined],
    ['', undefined],
  ])('%s: %s', (address, place) => {
    expect(localPlaceOf(address)).toBe(place);
  });
});

describe('isLoopbackHost', () => {
  it.each(['localhost', 'LOCALHOST.', 'a.localhost', '127.0.0.1', '[::1]', '[::ffff:127.0.0.1]'])(
    '%s is',
    (host) => {
      expect(isLoopbackHost(host)).toBe(true);
    },
  );
  // The last one is loopback where the network's NAT64 is, if anywhere.
  it.each(['localhost.example.com', 'notlocalhost', '10.0.0.1', '169.254.1.1', '[64:ff9b::7f00:1]'])(
    '%s is not',
    (host) => {
      expect(isLoopbackHost(host)).toBe(false);
    },
  );
});

describe('isMetadataName', () => {
  it.each(['metadata.google.internal', 'METADATA.google.internal.', 'metadata', 'instance-data'])(
    '%s is',
    (host) => {
      expect(isMetadataName(host)).toBe(true);
    },
  );
  it.each(['metadata.example.com', 'google.internal', '169.254.169.254'])('%s is not', (host) => {
    expect(isMetadataName(host)).toBe(false);
  });
});
