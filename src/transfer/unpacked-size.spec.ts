import { unpackedBytes } from './unpacked-size.js';

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
