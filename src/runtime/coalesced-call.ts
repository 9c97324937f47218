import { abandonable } from '../common/abandonable.js';

interface Call<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/** Lets callers that come while `work` runs share that run. It is aborted when none of them waits any longer. */
export class CoalescedCall<T> {
  private current: Call<T> | undefined;

  constructor(private readonly work: (signal: AbortSignal) => Promise<T>) {}

  /** Rejects with the signal's reason when it aborts; the others keep waiting. */
  async run(signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const call = (this.current ??= this.start());
    call.waiters++;
    try {
      return await abandonable(call.result, signal);
    } finally {
      call.waiters--;
      if (call.waiters === 0) {
        this.forget(call);
        call.controller.abort();
      }
    }
  }

  /** Later callers see the world from now on: they do not join a run that began before. */
  separate(): void {
    this.current = undefined;
  }

  private start(): Call<T> {
    const controller = new AbortController();
    const call = { result: this.work(controller.signal), controller, waiters: 0 };
    const forget = (): void => this.forget(call);
    call.result.then(forget, forget);
    return call;
  }

  private forget(call: Call<T>): void {
    if (this.current === call) this.current = undefined;
  }
}
