import { VirtualClock } from '../../test/support/virtual-clock.js';
import { Bell } from './bell.js';

describe('Bell', () => {
  const never = new AbortController().signal;

  it('wakes whoever waits, or ends the next wait at once', async () => {
    const clock = new VirtualClock();
    const bell = new Bell(clock);
    const waiting = bell.wait(60_000, never);
    bell.ring();
    await waiting;
    bell.ring();
    bell.ring();
    await bell.wait(60_000, never);
    expect(clock.monotonicMs()).toBe(0);
  });

  it('ends a wait when its time has come, and begins the next anew', async () => {
    const clock = new VirtualClock();
    const bell = new Bell(clock);
    await clock.run(bell.wait(100, never));
    await clock.run(bell.wait(100, never));
    expect(clock.monotonicMs()).toBe(200);
  });

  it('fails with the reason of a signal that aborts', async () => {
    const stop = new AbortController();
    const waiting = new Bell(new VirtualClock()).wait(60_000, stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
