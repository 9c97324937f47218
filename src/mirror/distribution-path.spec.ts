import fc from 'fast-check';

import { parseDistributionPath } from './distribution-path.js';

const digest = `sha256:${'a'.repeat(64)}` as const;

describe('parseDistributionPath', () => {
  it.each([
    ['/v2/', { kind: 'base' }],
    ['/v2', { kind: 'base' }],
    [`/v2/library/nginx/manifests/${digest}`, { kind: 'manifest', name: 'library/nginx', digest }],
    ['/v2/nginx/manifests/1.27', { kind: 'tag', name: 'nginx', tag: '1.27' }],
    [`/v2/a/b/c/blobs/${digest}`, { kind: 'blob', name: 'a/b/c', digest }],
    [`/v2/blobs/blobs/${digest}`, { kind: 'blob', name: 'blobs', digest }],
    [`/v2/nginx/referrers/${digest}`, { kind: 'referrers', name: 'nginx' }],
    ['/v2/nginx/tags/list', undefined],
    ['/v2/nginx/blobs/uploads', undefined],
    ['/v2/../blobs/sha256:00', undefined],
    [`/v2/../../etc/blobs/${digest}`, undefined],
    [`/v2/UPPER/blobs/${digest}`, undefined],
    [`/v2/${'a'.repeat(2000)}/blobs/${digest}`, undefined],
    ['/v3/', undefined],
  ])('%s', (path, expected) => {
    expect(parseDistributionPath(path)).toEqual(expected);
  });

  it('takes any string without throwing', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 3000 }), (path) => void parseDistributionPath(`/v2/${path}`)),
    );
  });
});
