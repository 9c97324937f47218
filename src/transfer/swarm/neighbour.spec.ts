import { ChunkMap } from '../../domain/chunk-map.js';
import { digestOf } from '../../domain/digest.js';
import type { BlobAvailability } from '../../peers/availability.js';
import type { Neighbour } from './neighbour.js';
import { NeighbourBlob } from './neighbour.js';
import { NeighbourTable } from './neighbour-table.js';

const MIB = 1024 * 1024;
const size = 3 * MIB;
const digest = digestOf(Buffer.from('a blob'));

/** What a peer says that has `indexes`, and names hashes of `hashes` alone. */
function partial(indexes: readonly number[], hashes: readonly string[]): BlobAvailability {
  const chunks = new ChunkMap(3);
  for (const index of indexes) chunks.add(index);
  return { size, complete: false, chunks, chunkHashes: hashes };
}

describe('NeighbourBlob', () => {
  it('remembers the hashes that it was told, which are told once', () => {
    const blob = new NeighbourBlob(size);
    blob.update(partial([0], ['aa', '', '']), 1);
    blob.update(partial([0, 2], ['', '', 'cc']), 2);
    expect([0, 1, 2].map((index) => blob.hashOf(index))).toEqual(['aa', undefined, 'cc']);
    expect([...blob.told.toBytes()]).toEqual([0b101]);
  });

  it('asks anew for the hashes of a blob that the peer has begun anew', () => {
    const blob = new NeighbourBlob(size);
    blob.update(partial([0, 1], ['aa', 'bb', '']), 1);
    blob.update(partial([1], ['', '', '']), 2);
    expect(blob.told.size).toBe(0);
  });

  it('asks anew for the hashes of a blob that the peer has completed: claims are facts now', () => {
    const blob = new NeighbourBlob(size);
    blob.update(partial([0, 1], ['aa', 'bb', '']), 1);
    blob.update({ size, complete: true, chunkHashes: ['', '', 'cc'] }, 2);
    expect([0, 1, 2].map((index) => blob.hashOf(index))).toEqual([undefined, undefined, 'cc']);
    blob.update({ size, complete: true, chunkHashes: ['aa', 'bb', ''] }, 3);
    expect(blob.told.isFull).toBe(true);
  });
});

describe('A neighbour that has not what it says it has', () => {
  const peer = { node: 'node-1', instance: 'one' };
  const boast = new Map([[digest, { size, complete: true }]]);
  const sizes = new Map([[digest, size]]);

  function tableWith(): { table: NeighbourTable<typeof peer>; neighbour: Neighbour<typeof peer> } {
    const table = new NeighbourTable<typeof peer>('self');
    table.follow([peer], 0);
    const neighbour = table.get(peer.instance);
    if (!neighbour) throw new Error('the only peer is a neighbour');
    return { table, neighbour };
  }

  it('is believed again when it says so anew, but not for ever', () => {
    const { table, neighbour } = tableWith();
    for (let denial = 0; denial < 3; denial += 1) {
      table.answered(peer.instance, boast, sizes, denial);
      expect(table.holders(digest, 3)).toHaveLength(1);
      neighbour.denied(digest);
      expect(table.holders(digest, 3)).toHaveLength(0);
    }
    table.answered(peer.instance, boast, sizes, 3);
    expect(table.holders(digest, 3)).toHaveLength(0);
    expect(neighbour.isBelieved(digest)).toBe(false);
    expect(neighbour.isBelieved(digestOf(Buffer.from('another')))).toBe(true);
  });

  it('has made up for it when it gives a chunk', () => {
    const { neighbour } = tableWith();
    neighbour.denied(digest);
    neighbour.denied(digest);
    neighbour.delivered(digest, MIB, 100);
    neighbour.denied(digest);
    neighbour.denied(digest);
    expect(neighbour.isBelieved(digest)).toBe(true);
  });
});
