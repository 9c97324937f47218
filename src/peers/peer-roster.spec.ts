import { PeerRoster } from './peer-roster.js';

const address = (last: number) => ({ host: `10.0.0.${last}`, port: 8080 });
const identity = (node: string, instance = node) => ({
  node,
  instance,
  platform: 'linux/amd64',
  protocol: 1,
});

describe('PeerRoster', () => {
  let roster: PeerRoster;

  beforeEach(() => {
    roster = new PeerRoster('self');
    roster.setAddresses([address(1), address(2), address(3)]);
  });

  it('lists those who have answered, without itself, each instance once', () => {
    roster.answered(address(1), identity('one'));
    roster.answered(address(2), identity('self', 'self'));
    roster.answered(address(3), identity('one'));
    expect(roster.peers(0)).toEqual([{ ...identity('one'), address: address(1) }]);
    expect(roster.nodes()).toEqual(new Set(['one']));
  });

  it('falls back to the other address of an instance', () => {
    roster.answered(address(1), identity('one'));
    roster.answered(address(3), identity('one'));
    roster.failed(address(1), 0, { gone: true });
    expect(roster.peers(0)).toEqual([{ ...identity('one'), address: address(3) }]);
  });

  it('skips one that failed for longer each time, and never more than a minute', () => {
    roster.answered(address(1), identity('one'));
    roster.failed(address(1), 0, { gone: false });
    expect(roster.peers(500)).toEqual([]);
    expect(roster.peers(1_000)).toHaveLength(1);
    for (let failure = 0; failure < 20; failure += 1) roster.failed(address(1), 0, { gone: false });
    expect(roster.peers(47_000)).toEqual([]);
    expect(roster.peers(60_000)).toHaveLength(1);
  });

  it('leaves one alone for as long as it asked for', () => {
    roster.answered(address(1), identity('one'));
    roster.failed(address(1), 0, { gone: false, retryAfterMs: 30_000 });
    expect(roster.peers(29_999)).toEqual([]);
    expect(roster.peers(30_000)).toHaveLength(1);
  });

  it('takes one that could not be reached for a peer only when it has answered again', () => {
    roster.answered(address(1), identity('one'));
    roster.failed(address(1), 0, { gone: true });
    expect(roster.peers(60_000)).toEqual([]);
    expect(roster.unmet(0)).not.toContainEqual(address(1));
    expect(roster.unmet(60_000)).toContainEqual(address(1));
    roster.answered(address(1), identity('one', 'restarted'));
    expect(roster.peers(0)).toEqual([{ ...identity('one', 'restarted'), address: address(1) }]);
  });

  it('keeps what it knows of addresses that stay, and forgets those that go', () => {
    roster.answered(address(1), identity('one'));
    roster.answered(address(2), identity('two'));
    roster.setAddresses([address(2), address(4)]);
    expect(roster.peers(0).map(({ node }) => node)).toEqual(['two']);
    expect(roster.unmet(0)).toEqual([address(4)]);
    expect(roster.lists(address(1))).toBe(false);
    expect(roster.lists({ host: '::ffff:10.0.0.2', port: 8080 })).toBe(true);
    roster.answered(address(1), identity('one'));
    expect(roster.peers(0)).toHaveLength(1);
  });

  it('knows when to ask next', () => {
    expect(roster.nextAttemptMs()).toBe(-Infinity);
    for (const each of [1, 2, 3]) roster.answered(address(each), identity(`${each}`));
    expect(roster.nextAttemptMs()).toBeUndefined();
  });
});
