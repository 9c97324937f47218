import { Slots } from './slots.js';

const { signal } = new AbortController();

describe('Slots', () => {
  let slots: Slots;
  const order: string[] = [];

  beforeEach(() => {
    slots = new Slots({ preheatConcurrency: 1 });
    order.length = 0;
  });

  const note = (what: string) => (): Promise<void> => {
    order.push(what);
    return Promise.resolve();
  };

  it('lets who is about to hold a lock go before all others, and these by priority', async () => {
    const first = Promise.withResolvers<undefined>();
    const running = slots.work(0, signal, () => first.promise);
    const holder = slots.forHolder(signal);
    const waiting = [
      slots.work(1, signal, note('low')),
      slots.work(2, signal, note('high')),
      holder.take().then(note('holder')),
    ];
    first.resolve(undefined);
    await Promise.all([running, waiting[2]]);
    expect(order).toEqual(['holder']);
    holder.leave();
    await Promise.all(waiting);
    expect(order).toEqual(['holder', 'high', 'low']);
  });

  it('counts tries for a lock apart from work', async () => {
    const busy = Promise.withResolvers<undefined>();
    const running = slots.work(0, signal, () => busy.promise);
    await slots.try(0, signal, note('tried'));
    expect(order).toEqual(['tried']);
    busy.resolve(undefined);
    await running;
  });

  it('lets who waits for a slot leave, and gives it to the next', async () => {
    const first = slots.forHolder(signal);
    await first.take();
    const gone = new AbortController();
    const waiting = slots.forHolder(gone.signal).take();
    gone.abort(new Error('the agent is stopping'));
    await expect(waiting).rejects.toThrow('the agent is stopping');
    const next = slots.work(0, signal, note('next'));
    first.leave();
    await next;
  });

  it('has the slot free again when its holder leaves it untaken', async () => {
    slots.forHolder(signal).leave();
    await slots.work(0, signal, note('work'));
    expect(order).toEqual(['work']);
  });
});
