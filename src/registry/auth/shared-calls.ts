import { abandonable } from '../../common/abandonable.js';

interface Call<T> {
  readonly promise: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/** Callers that want the same thing at the same time share one piece of work. It is aborted when the last of them has left. */
export class SharedCalls<T> {
  private readonly calls = new Map<string, Call<T>>();

  async run(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const call = this.calls.get(key) ?? this.start(key, work);
    call.waiters++;
    try {
      return await abandonable(call.promise, signal);
    } finally {
      call.waiters--;
      if (call.waiters === 0) {
        call.controller.abort();
        if (this.calls.get(key) === call) this.calls.delete(key);
      }
    }
  }

  private start(key: string, work: (signal: AbortSignal) => Promise<T>): Call<T> {
    const controller = new AbortController();
    const call = { promise: work(controller.signal), controller, waiters: 0 };
    this.calls.set(key, call);
    return call;
  }
}
