/** Where a program runs and listens: on this machine's loopback, or in a network of its own. */
export interface ProcessPlace {
  /** It listens here, and is reached here. */
  readonly address: string;
  /** What stands before its own command line to start it there. It becomes the program, under the same pid. */
  readonly launcher: readonly string[];
}

export const LOOPBACK: ProcessPlace = { address: '127.0.0.1', launcher: [] };
