import { ChunkMap } from '../../domain/chunk-map.js';
import { digestOf } from '../../domain/digest.js';
import type { PartialBlob } from '../../store/partial-blob.js';
import { type Giver, SwarmBlob } from './swarm-blob.js';

const before: Giver = { kind: 'peer', name: 'node-1', instance: 'before its restart' };
const after: Giver = { kind: 'peer', name: 'node-1', instance: 'after its restart' };

/** A blob of two chunks, of which each of `givers` gave one. */
function givenBy(...givers: readonly Giver[]): SwarmBlob {
  const wanted = { digest: digestOf(Buffer.from('a blob')), size: 2 * 1024 * 1024, mediaType: '' };
  const partial = { verified: ChunkMap.full(2) } as unknown as PartialBlob;
  const blob = new SwarmBlob(wanted, partial, () => undefined);
  for (const [index, giver] of givers.entries()) blob.givers.set(index, giver);
  return blob;
}

describe('SwarmBlob', () => {
  it.each([
    ['one gave all', [before, before], before],
    ['two processes of one node gave some each', [before, after], undefined],
    ['some was there before', [before], undefined],
    ['nobody gave any', [], undefined],
  ])('knows who is to blame alone where %s', (_, givers, giver) => {
    expect(givenBy(...givers).onlyGiver).toEqual(giver);
  });
});
