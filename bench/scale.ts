export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;

/** How much each part moves and how often: all of it, or what a few minutes allow. */
export interface Scale {
  /** Of the single layer that passes through two nodes. */
  readonly largeLayerBytes: number;
  /** Pairs of preheat and plain pull. */
  readonly pairs: number;
  /** Rounds of serving a hot gigabyte, each by the agent and by nginx. */
  readonly servingRounds: number;
}

export const FULL: Scale = { largeLayerBytes: 2 * GIB, pairs: 7, servingRounds: 8 };
export const QUICK: Scale = { largeLayerBytes: GIB, pairs: 5, servingRounds: 4 };
