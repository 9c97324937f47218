import { VirtualClock } from '../../../test/support/virtual-clock.js';
import { ChunkMap } from '../../domain/chunk-map.js';
import { digestOf } from '../../domain/digest.js';
import { ReadAhead } from './read-ahead.js';
import type { Giver, SwarmBlob } from './swarm-blob.js';

const digest = digestOf(Buffer.from('a blob'));
const REGISTRY: Giver = { kind: 'registry', name: 'registry.example' };
const PEER: Giver = { kind: 'peer', name: 'a node', instance: 'a' };
const CHUNKS = 20;

describe('ReadAhead', () => {
  let clock: VirtualClock;
  let sent: ChunkMap;
  let swarm: string[];
  let ahead: ReadAhead;
  const { signal } = new AbortController();

  beforeEach(() => {
    clock = new VirtualClock();
    sent = new ChunkMap(CHUNKS);
    swarm = ['a', 'b', 'c', 'd'];
    ahead = new ReadAhead({ sentOf: () => sent, swarmOf: () => swarm }, clock);
  });

  /** A blob whose first chunks came from `giver`. */
  const blobWith = (count: number, giver = REGISTRY): SwarmBlob =>
    ({ digest, givers: new Map(Array.from({ length: count }, (_, index) => [index, giver])) }) as SwarmBlob;
  const held = async (blob: SwarmBlob): Promise<number> => {
    const startedMs = clock.monotonicMs();
    await clock.run(ahead.hold(blob, signal));
    return clock.monotonicMs() - startedMs;
  };

  it('holds up a reader that is more than four chunks ahead, until peers take them', async () => {
    expect(await held(blobWith(4))).toBe(0);
    const holding = ahead.hold(blobWith(6), signal);
    await clock.advance(500);
    sent.add(0);
    sent.add(1);
    const atMs = clock.monotonicMs();
    await clock.run(holding);
    expect(clock.monotonicMs() - atMs).toBeLessThanOrEqual(50);
  });

  it('does not while most peers have nothing to take, nor where nobody asks, nor for what came from peers', async () => {
    expect(await held(blobWith(12, PEER))).toBe(0);
    for (let index = 0; index < CHUNKS; index += 1) if (index % 4 > 0) sent.add(index);
    expect(await held(blobWith(CHUNKS))).toBe(0);
    swarm = [];
    expect(await held(blobWith(CHUNKS))).toBe(0);
  });

  it('gives up after two seconds in all, of all streams together', async () => {
    const blob = blobWith(CHUNKS);
    expect(await held(blobWith(4))).toBe(0);
    const both = Promise.all([ahead.hold(blob, signal), ahead.hold(blob, signal)]);
    await clock.run(both);
    expect(clock.monotonicMs()).toBe(2000);
    expect(await held(blob)).toBe(0);
  });

  it('lets go when the reading is over', async () => {
    const over = new AbortController();
    const holding = ahead.hold(blobWith(CHUNKS), over.signal);
    over.abort(new Error('over'));
    await expect(holding).rejects.toThrow('over');
  });
});
