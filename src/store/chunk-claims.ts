import { abandonable } from '../common/abandonable.js';

/** A writer's place at one chunk. */
export interface ChunkPlace {
  /** Aborts when another writer of this chunk was faster. */
  readonly outrun: AbortSignal;
  /** Does one thing to the chunk's bytes in the file. @throws ChunkOutrunError, and does nothing, when another writer was faster */
  writing<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Outruns the others at this chunk and, until this place is given back, whoever comes. Resolves when the last of
   * their writes is over.
   * @returns whether there was anybody else since this place was taken: what the file holds may then be theirs
   * @throws ChunkOutrunError when another writer was faster
   */
  takeAlone(): Promise<boolean>;
  /** Gives the place back. */
  leave(): void;
}

/** Another source brought the chunk first, or wrote over it. */
export class ChunkOutrunError extends Error {}

/** Those at one chunk. */
interface Crowd {
  readonly places: Set<Place>;
  /** Who has it alone. */
  taker?: Place | undefined;
}

class Place implements ChunkPlace {
  private readonly overtaken = new AbortController();
  private readonly gone = Promise.withResolvers<undefined>();
  private lastWrite: Promise<unknown> = Promise.resolve();
  private shared = false;

  constructor(
    private readonly crowd: Crowd,
    private readonly onLeave: () => void,
  ) {
    if (crowd.taker) {
      this.overtaken.abort(new ChunkOutrunError());
      return;
    }
    for (const other of crowd.places) other.shared = true;
    this.shared = crowd.places.size > 0;
    crowd.places.add(this);
  }

  get outrun(): AbortSignal {
    return this.overtaken.signal;
  }

  /** Resolves when this place was given back, or lost. */
  get left(): Promise<undefined> {
    return this.gone.promise;
  }

  async writing<T>(work: () => Promise<T>): Promise<T> {
    this.outrun.throwIfAborted();
    const written = work();
    this.lastWrite = written.catch(() => undefined);
    return written;
  }

  async takeAlone(): Promise<boolean> {
    this.outrun.throwIfAborted();
    this.crowd.taker = this;
    const others = [...this.crowd.places].filter((place) => place !== this);
    for (const other of others) other.lose();
    await Promise.all(others.map(({ lastWrite }) => lastWrite));
    return this.shared;
  }

  leave(): void {
    this.crowd.places.delete(this);
    if (this.crowd.taker === this) this.crowd.taker = undefined;
    this.gone.resolve(undefined);
    this.onLeave();
  }

  /** Its writer may be waiting for a silent source: nobody waits for it. */
  private lose(): void {
    this.overtaken.abort(new ChunkOutrunError());
    this.crowd.places.delete(this);
    this.gone.resolve(undefined);
  }
}

/**
 * Who writes which chunk. Streams of many chunks have each of them one after the other; requests for one chunk may race,
 * with each other and with a stream. Whoever is first has the chunk alone from then on, and looks at the file again if
 * there ever was another: one that sent something else and has left may have written over what was right.
 */
export class ChunkClaims {
  private readonly crowds = new Map<number, Crowd>();

  /** Waits until nobody is at chunk `index`. @throws the signal's reason */
  async claim(index: number, signal: AbortSignal): Promise<ChunkPlace> {
    for (let crowd = this.crowds.get(index); crowd; crowd = this.crowds.get(index))
      await abandonable(Promise.all([...crowd.places].map(({ left }) => left)), signal);
    return this.join(index);
  }

  /** A place beside whoever is at chunk `index` already; one that is lost at once when somebody has it alone. */
  join(index: number): ChunkPlace {
    const crowd = this.crowds.get(index) ?? { places: new Set<Place>() };
    this.crowds.set(index, crowd);
    return new Place(crowd, () => {
      if (crowd.places.size === 0 && this.crowds.get(index) === crowd) this.crowds.delete(index);
    });
  }
}
