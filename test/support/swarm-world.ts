import type { Clock } from '../../src/common/clock.js';
import type { HostPort } from '../../src/config/app-config.js';
import type { Digest } from '../../src/domain/digest.js';
import { HastyClock } from './hasty-clock.js';
import type { KeyedChance } from './keyed-chance.js';
import { SwarmFaults } from './swarm-faults.js';
import type { SwarmImage } from './swarm-images.js';
import { SwarmLock } from './swarm-lock.js';
import { SwarmNetwork } from './swarm-network.js';
import { SwarmRegistry } from './swarm-registry.js';

/** Waits of the program are this much shorter than in life. */
const HASTE = 10;

/** What all nodes of a run have in common. */
export interface SwarmWorld {
  readonly images: readonly SwarmImage[];
  /** Config and layers of all images. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  readonly addresses: readonly HostPort[];
  readonly faults: SwarmFaults;
  readonly network: SwarmNetwork;
  readonly registry: SwarmRegistry;
  readonly lock: SwarmLock;
  readonly clock: Clock;
}

export interface SwarmWorldOptions {
  readonly images: readonly SwarmImage[];
  readonly nodes: number;
  /** Of the answers that something happens to. */
  readonly rate?: number;
  /** Whether the registry knows `Range`. */
  readonly ranges?: boolean;
  /** Once, the registry hands out a wrong byte. */
  readonly isRegistryWrongOnce?: boolean;
  /** Stalls are left to the reader, who takes seconds to notice. */
  readonly longStalls?: boolean;
}

/** A network, a registry and locks; calm unless `options` say otherwise. */
export function swarmWorld(
  chance: KeyedChance,
  {
    images,
    nodes,
    rate = 0,
    ranges = true,
    isRegistryWrongOnce = false,
    longStalls = false,
  }: SwarmWorldOptions,
): SwarmWorld {
  const clock = new HastyClock(HASTE);
  const blobs = new Map(images.flatMap((image) => [...image.blobs]));
  const faults = new SwarmFaults(chance, rate, blobs);
  return {
    images,
    blobs,
    addresses: Array.from({ length: nodes }, (_, at) => ({ host: `10.0.0.${at + 1}`, port: 3000 })),
    faults,
    network: new SwarmNetwork({ faults, blobs, longStalls }),
    registry: new SwarmRegistry({ faults, images, ranges, isWrongOnce: isRegistryWrongOnce }),
    lock: new SwarmLock(clock),
    clock,
  };
}
