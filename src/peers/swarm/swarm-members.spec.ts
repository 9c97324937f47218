import { type Digest, digestOf } from '../../domain/digest.js';
import { MEMBER_MS, SwarmMembers } from './swarm-members.js';

/** A digest by which no list is turned: its last 24 bits are 0. */
const digest: Digest = `sha256:${'0'.repeat(64)}`;
const asker = (number: number) => ({ node: `node-${number}`, instance: `instance-${number}` });
const names = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `node-${from + index}`);

describe('SwarmMembers', () => {
  let members: SwarmMembers;

  beforeEach(() => {
    members = new SwarmMembers();
  });

  const noteAll = (from: number, to: number, nowMs: number, of = digest): void => {
    for (let number = from; number < to; number += 1) members.note(of, asker(number), nowMs);
  };

  it('takes in whoever asks, 32 at most, and keeps the others to fill a gap', () => {
    expect(members.swarmOf(digest, 0)).toEqual([]);
    noteAll(0, 40, 0);
    expect(members.swarmOf(digest, 0)).toEqual(names(0, 32));
    expect(members.instances([digest], 0).size).toBe(40);
    noteAll(1, 40, 4000);
    expect(members.swarmOf(digest, MEMBER_MS + 1)).toEqual(names(1, 33));
  });

  it('keeps its order however often and in whichever order they ask again', () => {
    noteAll(0, 5, 0);
    for (const number of [3, 1, 4]) members.note(digest, asker(number), 1000);
    noteAll(5, 6, 1000);
    expect(members.swarmOf(digest, 1000)).toEqual(names(0, 6));
  });

  it('drops whoever has not asked for five seconds', () => {
    noteAll(0, 2, 0);
    members.note(digest, asker(1), 3000);
    expect(members.swarmOf(digest, MEMBER_MS)).toEqual(names(0, 2));
    expect(members.swarmOf(digest, MEMBER_MS + 1)).toEqual(['node-1']);
    expect([...members.instances([digest], 3000 + MEMBER_MS + 1)]).toEqual([]);
    // Who comes back is the last in.
    noteAll(2, 3, 9000);
    members.note(digest, asker(1), 9000);
    expect(members.swarmOf(digest, 9000)).toEqual(['node-2', 'node-1']);
  });

  it('begins elsewhere for each blob, with the same members in the same order', () => {
    const digests = Array.from({ length: 20 }, (_, index) => digestOf(Buffer.from(`blob ${index}`)));
    for (const one of digests) noteAll(0, 4, 0, one);
    const lists = digests.map((one) => members.swarmOf(one, 0));
    for (const list of lists) {
      const turn = list.indexOf('node-0');
      expect([...list.slice(turn), ...list.slice(0, turn)]).toEqual(names(0, 4));
    }
    expect(new Set(lists.map(([first]) => first))).toEqual(new Set(names(0, 4)));
  });

  it('remembers no more than 256 at a time', () => {
    noteAll(0, 1000, 0);
    expect(members.instances([digest], 0).size).toBe(256);
    noteAll(1000, 1001, MEMBER_MS + 1);
    expect(members.swarmOf(digest, MEMBER_MS + 1)).toEqual(['node-1000']);
  });

  it('names those who are after any of several blobs once', () => {
    const other = digestOf(Buffer.from('other'));
    noteAll(0, 2, 0);
    noteAll(1, 3, 0, other);
    expect([...members.instances([digest, other], 0)].toSorted()).toEqual([
      'instance-0',
      'instance-1',
      'instance-2',
    ]);
  });
});
