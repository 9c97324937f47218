import { digestOf } from '../domain/digest.js';
import { Suspects } from './suspects.js';
import type { Giver, SwarmBlob } from './swarm/swarm-blob.js';

const digest = digestOf(Buffer.from('a blob'));
const giver = (name: string): Giver => ({ kind: 'peer', name, instance: name });

/** A blob that failed its digest: who gave which chunk, and what came. */
function failed(givers: readonly (readonly [number, Giver])[], chunkHashes: readonly string[]): SwarmBlob {
  return { digest, givers: new Map(givers), partial: { chunkHashes } } as unknown as SwarmBlob;
}

describe('Suspects', () => {
  it('convicts those whose bytes were others, each once, and nobody twice', () => {
    const suspects = new Suspects();
    const [liar, honest] = [giver('liar'), giver('honest')];
    suspects.note(
      failed(
        [
          [0, honest],
          [1, liar],
          [2, liar],
        ],
        ['aa', 'xx', 'yy', 'of an earlier process'],
      ),
    );
    expect(suspects.has(digest)).toBe(true);
    expect(suspects.convict(digest, ['aa', 'bb', 'cc', 'dd'])).toEqual([liar]);
    expect(suspects.has(digest)).toBe(false);
  });

  it('convicts nobody while the right hashes are not known', () => {
    const suspects = new Suspects();
    suspects.note(failed([[0, giver('honest')]], ['aa']));
    expect(suspects.convict(digest, [])).toEqual([]);
  });
});
