/** As a shell tells that a program was ended by a signal: 128 and its number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** The first SIGINT or SIGTERM, which lets what was started be ended in order; the second one ends this process at once. */
export class Interruption {
  private readonly controller = new AbortController();
  private code: number | undefined;

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** For after everything was ended; undefined while there was no signal. */
  get exitCode(): number | undefined {
    return this.code;
  }

  watch(): void {
    for (const [name, code] of Object.entries(EXIT_CODES)) {
      const interrupt = (): void => {
        if (this.code !== undefined) process.exit(code);
        this.code = code;
        // What breaks from now on breaks because what it worked with is being ended.
        process.on('uncaughtException', () => undefined);
        this.controller.abort(new Error(`ended by ${name}`));
      };
      process.on(name, interrupt);
    }
  }
}
