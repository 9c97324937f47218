/**
 * What a suite has started, ended in reverse order however far it came: what was never started is not ended, and what
 * is still starting is waited for.
 */
export class Cleanup {
  private ends: (() => Promise<unknown>)[] = [];
  private closed = false;

  /** Remembers how to end what `starting` resolves to. @throws what `starting` does; when it is closed, after the start */
  async track<T>(starting: Promise<T>, end: (started: T) => Promise<unknown>): Promise<T> {
    this.ends.push(() =>
      starting.then(
        (started) => end(started),
        () => undefined,
      ),
    );
    const started = await starting;
    if (this.closed) throw new Error('everything is being ended');
    return started;
  }

  /** Nothing more is let start: whoever goes on starting things is stopped at the next one, and that one is ended. */
  close(): void {
    this.closed = true;
  }

  /** Ends everything, also where one end fails. @throws AggregateError with what failed */
  async run(): Promise<void> {
    const errors: unknown[] = [];
    while (this.ends.length > 0) {
      const ends = this.ends.reverse();
      this.ends = [];
      for (const end of ends) await end().catch((error: unknown) => errors.push(error));
    }
    if (errors.length > 0) throw new AggregateError(errors, 'not everything could be ended');
  }
}
