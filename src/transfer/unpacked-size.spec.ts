import { loadBytes, unpackedBytes } from './unpacked-size.js';

describe('unpackedBytes', () => {
  it.each([
    ['application/vnd.oci.image.layer.v1.tar+gzip', 300],
    ['application/vnd.oci.image.layer.v1.tar+zstd', 300],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', 300],
    ['application/vnd.oci.image.layer.v1.tar', 100],
    ['application/vnd.oci.image.config.v1+json', 100],
  ])('takes 100 bytes of %s for %d', (mediaType, expected) => {
    expect(unpackedBytes({ size: 100, mediaType })).toBe(expected);
  });
});

describe('loadBytes', () => {
  const blobs = [
    { size: 10, mediaType: 'application/vnd.oci.image.config.v1+json' },
    { size: 100, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' },
    { size: 200, mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd' },
  ];

  it('counts the blobs beside what is unpacked where the runtime keeps them', () => {
    expect(loadBytes(blobs, 'manifest')).toBe(910 + 310);
  });

  it('counts the largest download beside what is unpacked where they are temporary', () => {
    expect(loadBytes(blobs, 'config')).toBe(910 + 200);
  });

  it('is nothing for nothing', () => {
    expect(loadBytes([], 'config')).toBe(0);
    expect(loadBytes([], 'manifest')).toBe(0);
  });
});
