import { setImmediate } from 'node:timers/promises';

import { VirtualClock } from '../../test/support/virtual-clock.js';
import { PreheatFailure } from '../domain/errors.js';
import type { ImageRuntime, RuntimeSnapshot } from '../runtime/image-runtime.js';
import { RuntimeInventory } from './runtime-inventory.js';

const { signal } = new AbortController();
const EMPTY: RuntimeSnapshot = { identifiesBy: 'config', images: new Map() };

/** A runtime whose answers a test gives. */
class AskedRuntime {
  readonly calls: (PromiseWithResolvers<RuntimeSnapshot> & { readonly signal: AbortSignal })[] = [];

  list(callSignal: AbortSignal): Promise<RuntimeSnapshot> {
    const call = { ...Promise.withResolvers<RuntimeSnapshot>(), signal: callSignal };
    callSignal.addEventListener('abort', () => call.reject(callSignal.reason));
    this.calls.push(call);
    return call.promise;
  }
}

describe('RuntimeInventory', () => {
  let clock: VirtualClock;
  let runtime: AskedRuntime;
  let inventory: RuntimeInventory;

  beforeEach(() => {
    clock = new VirtualClock();
    runtime = new AskedRuntime();
    inventory = new RuntimeInventory(runtime as Partial<ImageRuntime> as ImageRuntime, clock);
  });

  it('asks the runtime once for all who want to know within a second', async () => {
    const both = [inventory.snapshot(signal), inventory.snapshot(signal)];
    runtime.calls[0]?.resolve(EMPTY);
    expect(await Promise.all(both)).toEqual([EMPTY, EMPTY]);
    await clock.advance(1000);
    expect(await inventory.snapshot(signal)).toBe(EMPTY);
    expect(runtime.calls).toHaveLength(1);
    await clock.advance(1);
    void inventory.snapshot(signal);
    expect(runtime.calls).toHaveLength(2);
    runtime.calls[1]?.resolve(EMPTY);
  });

  it('does not ask a runtime that is down for each who wants to know', async () => {
    const down = new PreheatFailure('runtime_unreachable', 'down');
    const first = inventory.snapshot(signal);
    runtime.calls[0]?.reject(down);
    await expect(first).rejects.toBe(down);
    await expect(inventory.snapshot(signal)).rejects.toBe(down);
    expect(runtime.calls).toHaveLength(1);
  });

  it('asks anew after a change, also where an answer from before it is still to come', async () => {
    const before = inventory.snapshot(signal);
    inventory.invalidate();
    const after = inventory.snapshot(signal);
    const changed = { ...EMPTY };
    runtime.calls[0]?.resolve(EMPTY);
    runtime.calls[1]?.resolve(changed);
    expect(await before).toBe(EMPTY);
    expect(await after).toBe(changed);
    expect(await inventory.snapshot(signal)).toBe(changed);
    expect(runtime.calls).toHaveLength(2);
  });

  it('lets go of a runtime that hangs when nobody waits for it any longer', async () => {
    const [one, other] = [new AbortController(), new AbortController()];
    const waiting = [inventory.snapshot(one.signal), inventory.snapshot(other.signal)];
    const reason = new Error('the agent is stopping');
    one.abort(reason);
    await expect(waiting[0]).rejects.toBe(reason);
    expect(runtime.calls[0]?.signal.aborted).toBe(false);
    other.abort(reason);
    await expect(waiting[1]).rejects.toBe(reason);
    expect(runtime.calls[0]?.signal.aborted).toBe(true);
    await setImmediate();
    void inventory.snapshot(signal).catch(() => undefined);
    expect(runtime.calls).toHaveLength(2);
    runtime.calls[1]?.resolve(EMPTY);
  });
});
