import { setTimeout as delay } from 'node:timers/promises';

import { abandonable } from './abandonable.js';
import { anySignal, isAbort, StallTimer, withTimeout } from './abort.js';

const late = (): Error => new Error('too late');

describe('withTimeout', () => {
  it('gives the result, and leaves no timer behind', async () => {
    const timersBefore = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    expect(await withTimeout(60_000, late, () => Promise.resolve(1))).toBe(1);
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')).toHaveLength(timersBefore);
  });

  it('says why it gave up, whatever the library underneath throws', async () => {
    const wait = (signal: AbortSignal): Promise<void> => delay(60_000, undefined, { signal });
    await expect(withTimeout(5, late, wait)).rejects.toThrow('too late');
    const parent = new AbortController();
    const stopped = withTimeout(60_000, late, wait, parent.signal);
    parent.abort(new Error('shutting down'));
    await expect(stopped).rejects.toThrow('shutting down');
  });

  it('passes other errors on', async () => {
    await expect(withTimeout(60_000, late, () => Promise.reject(new Error('own')))).rejects.toThrow('own');
  });
});

describe('anySignal', () => {
  it('aborts with the first of those that are there', () => {
    const controller = new AbortController();
    const signal = anySignal(undefined, controller.signal, new AbortController().signal);
    expect(signal.aborted).toBe(false);
    const reason = new Error('first');
    controller.abort(reason);
    expect(signal.reason).toBe(reason);
    expect(anySignal().aborted).toBe(false);
  });
});

describe('isAbort', () => {
  it('tells an abort from an error that came at the same time', () => {
    const reason = new Error('reason');
    const aborted = AbortSignal.abort(reason);
    expect(isAbort(reason, aborted)).toBe(true);
    expect(isAbort(new DOMException('x', 'AbortError'), aborted)).toBe(true);
    expect(isAbort(Object.assign(new Error('x'), { name: 'AbortError' }), aborted)).toBe(true);
    expect(isAbort(new Error('disk'), aborted)).toBe(false);
    expect(isAbort(reason, new AbortController().signal)).toBe(false);
    expect(isAbort(undefined, aborted)).toBe(false);
  });
});

describe('StallTimer', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('aborts after a silence, counted from the last sign of life', () => {
    const timer = new StallTimer(1_000, late);
    jest.advanceTimersByTime(900);
    timer.touch();
    jest.advanceTimersByTime(900);
    expect(timer.signal.aborted).toBe(false);
    jest.advanceTimersByTime(100);
    expect(timer.signal.reason).toEqual(late());
  });

  it('never aborts once it is stopped', () => {
    const timer = new StallTimer(1_000, late);
    timer.stop();
    jest.advanceTimersByTime(10_000);
    expect(timer.signal.aborted).toBe(false);
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('abandonable', () => {
  it('lets one waiter go and keeps the work for the others', async () => {
    const work = Promise.withResolvers<string>();
    const leaving = new AbortController();
    const [left, stays] = [
      abandonable(work.promise, leaving.signal),
      abandonable(work.promise, new AbortController().signal),
    ];
    const reason = new Error('left');
    leaving.abort(reason);
    await expect(left).rejects.toBe(reason);
    work.resolve('done');
    expect(await stays).toBe('done');
    await expect(abandonable(work.promise, leaving.signal)).rejects.toBe(reason);
  });
});
