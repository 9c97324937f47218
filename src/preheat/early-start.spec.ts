import { type Digest, digestOf } from '../domain/digest.js';
import type { ArrivingImage } from '../transfer/transfer-request.js';
import type { Arrivals } from './arrivals.js';
import type { EarlyPull } from './early-pull.js';
import { EarlyStart } from './early-start.js';

const [ROOT, OTHER, CONFIG, LOWER, MIDDLE, UPPER] = ['r', 'o', 'c', 'l', 'm', 'u'].map((text) =>
  digestOf(Buffer.from(text)),
) as [Digest, Digest, Digest, Digest, Digest, Digest];
const IMAGE: ArrivingImage = { root: ROOT, config: CONFIG, missing: [CONFIG, LOWER, MIDDLE, UPPER] };

describe('EarlyStart', () => {
  /** What has happened to pulls, in order. */
  let events: string[];
  let coming: Arrivals | undefined;
  let start: EarlyStart;

  beforeEach(() => {
    events = [];
    start = new EarlyStart((root, arrivals) => {
      events.push('begun');
      coming = arrivals;
      const pull: Pick<EarlyPull, 'root' | 'touch' | 'end'> = {
        root,
        touch: () => void events.push('touched'),
        end: () => Promise.resolve(void events.push('ended')),
      };
      return pull as EarlyPull;
    });
  });

  it('begins with the first layer, not with the config', () => {
    start.fetching(IMAGE);
    start.stored(CONFIG);
    expect(events).toEqual([]);
    start.stored(MIDDLE);
    expect(events).toEqual(['begun']);
    expect(start.pull?.root).toBe(ROOT);
    start.stored(LOWER);
    start.stored(UPPER);
    expect(events).toEqual(['begun', 'touched', 'touched']);
    expect(coming?.areOver).toBe(true);
  });

  it('does not begin with an image that is there', () => {
    start.stored(LOWER);
    start.fetching({ ...IMAGE, missing: [LOWER] });
    start.stored(LOWER);
    expect([events, start.pull]).toEqual([[], undefined]);
  });

  it('keeps a pull of what was brought, and gives up any other', async () => {
    start.fetching(IMAGE);
    start.stored(LOWER);
    await start.keepOnly(ROOT);
    expect(start.pull).toBeDefined();
    await start.keepOnly(OTHER);
    expect([events, start.pull]).toEqual([['begun', 'ended'], undefined]);
  });

  it('does not begin again after a pull was given up', async () => {
    start.fetching(IMAGE);
    start.stored(LOWER);
    await start.keepOnly();
    start.fetching({ ...IMAGE, missing: [MIDDLE, UPPER] });
    start.stored(MIDDLE);
    expect(events).toEqual(['begun', 'ended']);
  });
});
