import type { Cleanup } from '../test/support/cleanup.js';
import type { Engine } from '../test/support/engines.js';
import type { Figure } from './figure.js';
import type { Scale } from './scale.js';

/** Things that are run side by side, and what is printed of them. */
export interface BenchPart {
  readonly name: string;
  /** Programs it cannot do without; root as well. */
  readonly programs: readonly Engine[];
  /** What it starts is tracked by `cleanup`, which its caller runs. */
  run(scale: Scale, cleanup: Cleanup): Promise<readonly Figure[]>;
}
