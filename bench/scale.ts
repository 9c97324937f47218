export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;

/** How much each part moves and how often: all of it, or what a few minutes allow. */
export interface Scale {
  /** Sizes of the simulated clusters. */
  readonly simulatedNodes: readonly number[];
  /** Of the single layer that passes through two nodes. */
  readonly largeLayerBytes: number;
  /** Pairs of preheat and plain pull. */
  readonly pairs: number;
  /** Rounds of serving a hot gigabyte, each by the agent and by nginx. */
  readonly servingRounds: number;
  /** Of the image that eight nodes share over links of their own. */
  readonly sharedImageBytes: number;
  /** Whether they do so in all ways, or in those that tell most. */
  readonly allSharings: boolean;
  /** Of the one that they copy whole; the time of that grows with it in proportion. */
  readonly copiedBytes: number;
  /** Content of the image that one Docker node gets from another, and how often. */
  readonly dockerImageBytes: number;
  readonly dockerRounds: number;
}

export const FULL: Scale = {
  simulatedNodes: [8, 32, 100, 1000],
  largeLayerBytes: 5_000_000_000,
  pairs: 7,
  servingRounds: 15,
  sharedImageBytes: 256_000_000,
  allSharings: true,
  copiedBytes: 32_000_000,
  dockerImageBytes: 1_000_000_000,
  dockerRounds: 3,
};
export const QUICK: Scale = {
  simulatedNodes: [8, 32, 100],
  largeLayerBytes: 500_000_000,
  pairs: 3,
  servingRounds: 5,
  sharedImageBytes: 256_000_000,
  allSharings: false,
  copiedBytes: 4_000_000,
  dockerImageBytes: 200_000_000,
  dockerRounds: 1,
};
