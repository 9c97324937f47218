import { abandonable } from '../../common/abandonable.js';
import type { Clock } from '../../common/clock.js';
import type { SwarmSource } from '../../peers/swarm/swarm-source.js';
import type { SwarmBlob } from './swarm-blob.js';

/** Chunks of a blob that may be here, read from the registry, before anybody has begun to take them. */
const MIN_AHEAD = 4;
/** An attempt is held up for so long in all, however slow its peers are. Milliseconds. */
const MAX_PAUSE_MS = 2000;
const LOOK_MS = 50;

/** What peers have taken of the blobs here. */
export type TakenChunks = Pick<SwarmSource, 'sentOf' | 'swarmOf'>;

/**
 * Keeps a lock holder from reading far ahead of what its peers take from it: what is nowhere else is read from the
 * registry again should the holder die. That costs next to nothing: its uplink has enough to do meanwhile.
 */
export class ReadAhead {
  private leftMs = MAX_PAUSE_MS;
  private pause: Promise<void> | undefined;

  constructor(
    private readonly taken: TakenChunks,
    private readonly clock: Clock,
  ) {}

  /** Resolves when more of `blob` may be read. All streams wait together. @throws the signal's reason */
  async hold(blob: SwarmBlob, signal: AbortSignal): Promise<void> {
    if (!this.isFar(blob)) return;
    this.pause ??= this.wait(blob, signal).finally(() => {
      this.pause = undefined;
    });
    await abandonable(this.pause, signal);
  }

  /** Whether half of the peers that share in `blob` have something to take that they have not begun to. */
  isFar({ digest, givers }: SwarmBlob): boolean {
    if (this.leftMs <= 0 || givers.size <= MIN_AHEAD) return false;
    const swarm = this.taken.swarmOf(digest);
    if (swarm.length === 0) return false;
    const sent = this.taken.sentOf(digest);
    const provided = new Set<number>();
    let ahead = 0;
    for (const [index, { kind }] of givers) {
      if (kind !== 'registry' || sent?.has(index) === true) continue;
      provided.add(index % swarm.length);
      ahead += 1;
    }
    return ahead > MIN_AHEAD && provided.size * 2 >= swarm.length;
  }

  private async wait(blob: SwarmBlob, signal: AbortSignal): Promise<void> {
    while (this.isFar(blob)) {
      this.leftMs -= LOOK_MS;
      await this.clock.sleep(LOOK_MS, signal);
    }
  }
}
