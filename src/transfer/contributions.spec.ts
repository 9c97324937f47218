import type { Digest } from '../domain/digest.js';
import { Contributions } from './contributions.js';

const digest: Digest = `sha256:${'a'.repeat(64)}`;
const peer = (name: string) => ({ kind: 'peer' as const, name });

describe('Contributions', () => {
  it('names the farthest place that gave a byte', () => {
    const contributions = new Contributions();
    expect(contributions.source).toBe('store');
    contributions.add(digest, peer('a'), 0, 1);
    contributions.add(digest, { kind: 'archive', name: 'x.tar' }, 0, 1);
    expect(contributions.source).toBe('peer');
  });

  it('measures each peer from its first byte to its last', () => {
    const contributions = new Contributions();
    contributions.add(digest, peer('a'), 100, 200);
    contributions.add(digest, peer('a'), 500, 700);
    expect(contributions.peerDurations()).toEqual([['a', 600]]);
  });

  it('blames a source only when the whole blob was its own', () => {
    const contributions = new Contributions();
    contributions.add(digest, peer('a'), 0, 1);
    contributions.add(digest, peer('b'), 0, 1);
    expect(contributions.mustComeAlone(digest)).toBe(false);
    expect(contributions.blame(digest)).toBe(false);
    expect(contributions.mustComeAlone(digest)).toBe(true);
    contributions.add(digest, peer('b'), 0, 1);
    expect(contributions.blame(digest)).toBe(true);
  });
});
