import { ChunkMap } from '../../domain/chunk-map.js';
import type { Digest } from '../../domain/digest.js';
import type { BlobAvailability } from '../../peers/availability.js';
import { MAX_NEIGHBOURS, NeighbourTable, type TablePeer } from './neighbour-table.js';

const MIB = 1024 * 1024;
const DIGEST: Digest = `sha256:${'1'.repeat(64)}`;
const SIZES = new Map([[DIGEST, 4 * MIB]]);
const peers = (count: number): TablePeer[] =>
  Array.from({ length: count }, (_, number) => ({ node: `n${number}`, instance: `i${number}` }));

function some(...indexes: number[]): BlobAvailability {
  const chunks = new ChunkMap(4);
  for (const index of indexes) chunks.add(index);
  return { size: 4 * MIB, complete: false, chunks };
}

describe('NeighbourTable', () => {
  let table: NeighbourTable<TablePeer>;
  const answer = (instance: string, blob: BlobAvailability | undefined, nowMs: number): void =>
    table.answered(instance, new Map(blob ? [[DIGEST, blob]] : []), SIZES, nowMs);
  const due = (nowMs: number): string[] => table.takeDue(nowMs).map(({ peer }) => peer.instance);

  beforeEach(() => {
    table = new NeighbourTable('self');
  });

  it('has everyone of a small cluster, and 16 of a large one: the holder and participants first', () => {
    table.follow(peers(10), 0);
    expect(table.size).toBe(10);
    const many = peers(500);
    table = new NeighbourTable('self');
    table.follow(many, 0, { preferred: 'i400', participants: [many[300]!, many[301]!] });
    expect(table.size).toBe(MAX_NEIGHBOURS);
    for (const instance of ['i400', 'i300', 'i301']) expect(table.get(instance)).toBeDefined();
  });

  it('lets go of who has left, and of who has been useless for long where there are others', () => {
    const many = peers(500);
    table.follow(many, 0);
    const [first] = due(0);
    answer(first!, some(0), 0);
    const gone = due(0);
    expect(gone).toEqual([]);
    table.follow(many, 10_000, { mine: new Map([[DIGEST, new ChunkMap(4)]]) });
    expect(table.get(first!)).toBeDefined();
    const all = ChunkMap.full(4);
    table.follow(many, 20_000, { mine: new Map([[DIGEST, all]]) });
    expect(table.get(first!)).toBeUndefined();
    expect(table.size).toBe(MAX_NEIGHBOURS);
  });

  it('asks each every 300 to 700 ms, one that has all of it seldom, a source it does not belong to even more so', () => {
    table.follow(peers(3), 0);
    expect(due(0)).toHaveLength(3);
    expect(due(0)).toEqual([]);
    answer('i0', some(1), 0);
    answer('i1', { size: 4 * MIB, complete: true, swarm: ['self'] }, 0);
    answer('i2', { size: 4 * MIB, complete: true, swarm: ['another'] }, 0);
    expect(due(299)).toEqual([]);
    expect(due(700)).toEqual(['i0']);
    expect(due(1500)).toEqual(['i1']);
    expect(due(5999)).toEqual([]);
    expect(due(8000)).toEqual(['i2']);
  });

  it('leaves one that fails alone, longer each time, and one without a place for a moment', () => {
    table.follow(peers(1), 0);
    due(0);
    table.failed('i0', 0);
    expect(table.views(999)[0]).toMatchObject({ isReachable: false });
    expect(due(1000)).toEqual(['i0']);
    table.failed('i0', 1000);
    expect(due(2999)).toEqual([]);
    expect(due(3000)).toEqual(['i0']);
    answer('i0', some(0), 3000);
    table.full('i0', 3100);
    expect(table.views(3050)[0]).toMatchObject({ isReachable: true, mayBeAsked: false });
    expect(table.views(3100)[0]).toMatchObject({ mayBeAsked: true });
  });

  it('remembers when it saw a chunk at somebody first, and what hashes were told', () => {
    table.follow(peers(1), 0);
    answer('i0', { ...some(0), chunkHashes: ['a'.repeat(64), '', '', ''] }, 100);
    answer('i0', { ...some(0, 2), chunkHashes: ['', '', 'c'.repeat(64), ''] }, 200);
    const blob = table.get('i0')?.blobs.get(DIGEST);
    expect([0, 2].map((index) => blob?.seenAtMs(index))).toEqual([100, 200]);
    expect([0, 1, 2].map((index) => blob?.hashOf(index))).toEqual([
      'a'.repeat(64),
      undefined,
      'c'.repeat(64),
    ]);
    expect(table.newsMs).toBe(200);
  });

  it('has everyone asked again in a new attempt, but for those that are left alone', () => {
    table.follow(peers(2), 0);
    due(0);
    answer('i0', some(0), 0);
    table.failed('i1', 0);
    expect(table.isMet).toBe(true);
    table.renew(100);
    expect(table.isMet).toBe(false);
    expect(due(100)).toEqual(['i0']);
    answer('i0', { size: 4 * MIB, complete: false, origin: { state: 'reading', key: '' } }, 110);
    expect(table.isMet).toBe(true);
    table.renew(5000);
    expect(due(5000).toSorted()).toEqual(['i0', 'i1']);
  });

  it('does not believe in a blob of another size', () => {
    table.follow(peers(1), 0);
    answer('i0', { size: 5 * MIB, complete: true }, 0);
    expect(table.holders(DIGEST, 3)).toEqual([]);
  });

  it('calls slow who is five times slower than the others', () => {
    table.follow(peers(3), 0);
    for (const [number, durationMs] of [100, 110, 900].entries())
      table.get(`i${number}`)?.delivered(DIGEST, MIB, durationMs);
    const slow = table.views(0).filter(({ isSlow }) => isSlow);
    expect(slow.map(({ id }) => id)).toEqual(['i2']);
  });
});
