import { VirtualClock } from '../../../test/support/virtual-clock.js';
import type { Digest } from '../../domain/digest.js';
import { CHUNK_PLACES, SwarmSource } from './swarm-source.js';

const MIB = 1024 * 1024;
/** A digest by which no list of members is turned. */
const digest: Digest = `sha256:${'0'.repeat(64)}`;
const [a, b, stranger] = ['a', 'b', 'stranger'].map((node) => ({ node, instance: node })) as [
  { node: string; instance: string },
  { node: string; instance: string },
  { node: string; instance: string },
];

describe('SwarmSource', () => {
  let clock: VirtualClock;
  let source: SwarmSource;

  beforeEach(() => {
    clock = new VirtualClock();
    source = new SwarmSource(clock);
    // Even chunks are a's, odd ones b's.
    for (const caller of [a, b]) source.note(digest, caller);
  });

  const grant = (index: number, caller = a) => source.tryGrant({ digest, size: 20 * MIB, index, caller });
  /** Asks until there is no place. @returns how many there were */
  const fill = (index: number, caller = a): number => {
    let granted = 0;
    while (grant(index, caller)) granted += 1;
    return granted;
  };

  it('has six places for owners, whatever they ask for', () => {
    expect(fill(0)).toBe(CHUNK_PLACES);
    expect(grant(1, b)).toBeUndefined();
  });

  it('leaves three of them free of those who ask for what another owns', () => {
    expect(fill(1)).toBe(3);
    expect(grant(2, stranger)).toBeUndefined();
    expect(fill(1, b)).toBe(3);
  });

  it('gives helpers none while owners have three', () => {
    for (const index of [0, 2, 4]) expect(grant(index)).toBeDefined();
    expect(grant(1)).toBeUndefined();
    expect(grant(6)).toBeDefined();
  });

  it('gives everybody all six of a blob that came from peers, and of one that nobody asked about', async () => {
    source.relays(digest);
    expect(fill(1)).toBe(CHUNK_PLACES);
    source = new SwarmSource(clock);
    expect(fill(1, stranger)).toBe(CHUNK_PLACES);
    await clock.advance(0);
  });

  it('gives a place to the next when a sending ends, however it ended', () => {
    const ends = [0, 2, 4, 6, 8, 10].map((index) => grant(index));
    expect(grant(12)).toBeUndefined();
    ends[0]?.(true);
    expect(grant(12)).toBeDefined();
    expect(grant(14)).toBeUndefined();
    ends[1]?.(false);
    expect(grant(14)).toBeDefined();
  });

  it('says that a chunk is sent as soon as it is on its way, and takes it back when that fails', () => {
    expect(source.sentOf(digest)).toBeUndefined();
    const end = grant(4);
    expect([source.sentOf(digest)?.has(4), source.sentOf(digest)?.size]).toEqual([true, 1]);
    end?.(false);
    expect(source.sentOf(digest)?.has(4)).toBe(false);
    grant(4)?.(true);
    expect(source.sentOf(digest)?.has(4)).toBe(true);
    // Somebody has it: that it does not reach another changes nothing.
    grant(4)?.(false);
    expect(source.sentOf(digest)?.has(4)).toBe(true);
  });

  it('says so still when the first sending fails after a second one has ended', () => {
    const first = grant(4);
    grant(4)?.(true);
    first?.(false);
    expect(source.sentOf(digest)?.has(4)).toBe(true);
  });

  it('marks nothing as sent where there was no place', () => {
    fill(0);
    grant(2);
    expect(source.sentOf(digest)?.has(2)).toBe(false);
  });

  it('forgets what it sent of a blob that nobody asks for any more', async () => {
    grant(4)?.(true);
    await clock.advance(6000);
    const other: Digest = `sha256:${'1'.repeat(64)}`;
    source.tryGrant({ digest: other, size: MIB, index: 0, caller: a })?.(true);
    expect(source.sentOf(digest)).toBeUndefined();
  });

  it('knows those who are after some blobs', () => {
    expect(source.swarmOf(digest)).toEqual(['a', 'b']);
    expect([...source.askers([digest])]).toEqual(['a', 'b']);
  });
});
