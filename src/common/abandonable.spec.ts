import { abandonable } from './abandonable.js';

const signal = new AbortController().signal;

describe('abandonable', () => {
  it('gives what the shared promise gives', async () => {
    await expect(abandonable(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(abandonable(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
  });

  it('lets one caller go when its signal aborts, and nobody else', async () => {
    const shared = Promise.withResolvers<number>();
    const leaving = new AbortController();
    const left = abandonable(shared.promise, leaving.signal);
    const stays = abandonable(shared.promise, signal);
    leaving.abort(new Error('enough'));
    await expect(left).rejects.toThrow('enough');
    shared.resolve(2);
    await expect(stays).resolves.toBe(2);
  });

  it('leaves no unhandled rejection behind when the caller never begins to wait', async () => {
    const unhandled = jest.fn();
    process.once('unhandledRejection', unhandled);
    const shared = Promise.withResolvers<number>();
    await expect(abandonable(shared.promise, AbortSignal.abort(new Error('too late')))).rejects.toThrow(
      'too late',
    );
    shared.reject(new Error('nobody hears this'));
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });
});
