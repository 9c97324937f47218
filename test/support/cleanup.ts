/** What a suite has started, ended in reverse order however far it came: what was never started is not ended. */
export class Cleanup {
  private ends: (() => Promise<unknown>)[] = [];

  /** Remembers how to end what `starting` resolves to, at the moment it does. */
  async track<T>(starting: Promise<T>, end: (started: T) => Promise<unknown>): Promise<T> {
    const started = await starting;
    this.ends.push(() => end(started));
    return started;
  }

  /** Ends everything, also where one end fails. @throws AggregateError with what failed */
  async run(): Promise<void> {
    const ends = this.ends.reverse();
    this.ends = [];
    const errors: unknown[] = [];
    for (const end of ends) await end().catch((error: unknown) => errors.push(error));
    if (errors.length > 0) throw new AggregateError(errors, 'not everything could be ended');
  }
}
