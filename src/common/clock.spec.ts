import { systemClock } from './clock.js';

describe('systemClock', () => {
  it('sleeps, and wakes with the reason of an abort', async () => {
    const startMs = systemClock.monotonicMs();
    await systemClock.sleep(20);
    expect(systemClock.monotonicMs() - startMs).toBeGreaterThanOrEqual(18);
    const controller = new AbortController();
    const reason = new Error('enough');
    const sleeping = systemClock.sleep(60_000, controller.signal);
    controller.abort(reason);
    await expect(sleeping).rejects.toBe(reason);
    await expect(systemClock.sleep(60_000, controller.signal)).rejects.toBe(reason);
  });

  it('does not take a sleep that no timer can hold for none', async () => {
    const controller = new AbortController();
    const sleeping = systemClock.sleep(2 ** 40, controller.signal).then(() => 'woke');
    const first = await Promise.race([sleeping, systemClock.sleep(30).then(() => 'still asleep')]);
    controller.abort();
    expect(first).toBe('still asleep');
    await expect(sleeping).rejects.toThrow();
  });
});
