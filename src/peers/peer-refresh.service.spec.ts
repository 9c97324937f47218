import { VirtualClock } from '../../test/support/virtual-clock.js';
import type { AppConfig } from '../config/app-config.js';
import type { PeerDirectory } from './peer-directory.js';
import { PeerRefreshService } from './peer-refresh.service.js';

describe('PeerRefreshService', () => {
  let clock: VirtualClock;
  /** What was done, and when. */
  let done: [string, number][];
  let nextAttemptMs: number | undefined;
  /** What meeting them comes to. */
  let afterMeeting: number | undefined;
  let service: PeerRefreshService;

  beforeEach(() => {
    clock = new VirtualClock();
    done = [];
    nextAttemptMs = undefined;
    afterMeeting = undefined;
    const note = (what: string) => () => {
      done.push([what, clock.monotonicMs()]);
      if (what === 'meet') nextAttemptMs = afterMeeting;
      return Promise.resolve();
    };
    const directory: Pick<PeerDirectory, 'refresh' | 'meetNew' | 'nextAttemptMs'> = {
      refresh: note('refresh'),
      meetNew: note('meet'),
      nextAttemptMs: () => nextAttemptMs,
    };
    const config = { peers: { intervalMs: 30_000 } } as AppConfig;
    service = new PeerRefreshService(directory as PeerDirectory, config, clock);
  });
  afterEach(() => service.onModuleDestroy());

  it('looks for peers at once and at each interval', async () => {
    service.start();
    await clock.advance(65_000);
    expect(done).toEqual([
      ['refresh', 0],
      ['refresh', 30_000],
      ['refresh', 60_000],
    ]);
  });

  it('asks those who did not answer when their turn comes, in between', async () => {
    nextAttemptMs = 2_000;
    service.start();
    await clock.advance(31_000);
    expect(done).toEqual([
      ['refresh', 0],
      ['meet', 2_000],
      ['refresh', 30_000],
    ]);
  });

  it('is never busier than four times a second', async () => {
    nextAttemptMs = afterMeeting = -Infinity;
    service.start();
    await clock.advance(1_000);
    expect(done.filter(([what]) => what === 'meet')).toHaveLength(4);
  });

  it('stops, and does nothing after', async () => {
    service.start();
    await clock.advance(1);
    await service.onModuleDestroy();
    await clock.advance(100_000);
    expect(done).toEqual([['refresh', 0]]);
  });
});
