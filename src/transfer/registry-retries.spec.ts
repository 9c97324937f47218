import { VirtualClock } from '../../test/support/virtual-clock.js';
import { PreheatFailure } from '../domain/errors.js';
import { withRegistryRetries } from './registry-retries.js';

const reset = new PreheatFailure('registry_unreachable', 'connection reset');

describe('withRegistryRetries', () => {
  const clock = new VirtualClock();
  const { signal } = new AbortController();

  /** Plays one outcome per try: an error without or after some progress, or none. @returns how many tries were made */
  async function play(...outcomes: { readonly error?: Error; readonly brings?: boolean }[]): Promise<number> {
    let tries = 0;
    const attempt = (note: () => void): Promise<void> => {
      const { error, brings = false } = outcomes[tries] ?? {};
      tries += 1;
      if (brings) note();
      return error ? Promise.reject(error) : Promise.resolve();
    };
    await clock.run(withRegistryRetries(attempt, clock, signal));
    return tries;
  }

  it('tries again what may pass, and gives up after three failures in a row', async () => {
    expect(await play({ error: reset }, { error: reset }, {})).toBe(3);
    await expect(play({ error: reset }, { error: reset }, { error: reset }, {})).rejects.toBe(reset);
  });

  it('begins to count anew after a try that brought something', async () => {
    const some = { error: reset, brings: true };
    expect(await play(some, some, some, some, { error: reset }, {})).toBe(6);
  });

  it('does not try again what another try does not mend', async () => {
    const refused = new PreheatFailure('unauthorized', 'no');
    await expect(play({ error: refused, brings: true }, {})).rejects.toBe(refused);
  });

  it('ends with the signal', async () => {
    const over = new AbortController();
    const attempt = (): Promise<void> => {
      over.abort(new Error('over'));
      return Promise.reject(over.signal.reason as Error);
    };
    await expect(clock.run(withRegistryRetries(attempt, clock, over.signal))).rejects.toThrow('over');
  });
});
