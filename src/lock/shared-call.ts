/**
 * One call for all who ask while it runs. Each caller leaves by its own signal; the call is aborted when the last has left.
 */
export class SharedCall<T> {
  private running:
    { readonly result: Promise<T>; readonly abort: AbortController; callers: number } | undefined;

  /** @param work started only when no call is under way */
  async join(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const call = (this.running ??= this.start(work));
    call.callers += 1;
    try {
      return await abandonable(call.result, signal);
    } finally {
      call.callers -= 1;
      if (call.callers === 0) {
        if (this.running === call) this.running = undefined;
        call.abort.abort();
      }
    }
  }

  private start(work: (signal: AbortSignal) => Promise<T>) {
    const abort = new AbortController();
    const result = work(abort.signal);
    const call = { result, abort, callers: 0 };
    const forget = () => {
      if (this.running === call) this.running = undefined;
    };
    result.then(forget, forget);
    return call;
  }
}

/** `result`, or the signal's reason if that comes first; `result` itself goes on. */
function abandonable<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    result
      .finally(() => signal.removeEventListener('abort', onAbort))
      .then(resolve, (error: unknown) => reject(error as Error));
  });
}
