import { anySignal, StallTimer } from '../../common/abort.js';
import type { Clock } from '../../common/clock.js';
import { chunkRange } from '../../domain/chunk-map.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { BlobSource } from '../blob-source.js';
import type { Downlink } from '../downlink.js';
import { withRegistryRetries } from '../registry-retries.js';
import { ReadAhead, type TakenChunks } from './read-ahead.js';
import { nextSpan, type Span } from './registry-span.js';
import type { SwarmBlob } from './swarm-blob.js';

/** Streams from the registry at a time, of all blobs of an image together. */
const MAX_STREAMS = 4;
/** A stream that brings nothing for this long is given up, and opened again. */
const STALL_MS = 30_000;

export interface RegistryReaderParts {
  readonly downlink: Downlink;
  readonly relays: TakenChunks;
  readonly clock: Clock;
}

export interface RegistryReaderEvents {
  readonly onChunk: (blob: SwarmBlob, index: number, startedMs: number) => void;
  /** The registry failed for good, or nothing can be written any more. */
  readonly onFailure: (error: unknown) => void;
  /** A stream has ended: there may be more to read. */
  readonly onChange: () => void;
}

interface Reading {
  streams: number;
  /** Whether the registry answers ranges of this blob: nothing is asked in parallel before it has. */
  ranges: 'unknown' | 'yes' | 'no';
}

/** Reads what nobody else has from the registry, in up to four ranges at a time, for as long as the lock is held. */
export class RegistryReader {
  private readonly readings = new Map<SwarmBlob, Reading>();
  private readonly tasks = new Set<Promise<void>>();
  private readonly ahead: ReadAhead;

  constructor(
    private readonly source: BlobSource,
    private readonly isOffered: (blob: SwarmBlob, index: number) => boolean,
    private readonly parts: RegistryReaderParts,
    private readonly events: RegistryReaderEvents,
  ) {
    this.ahead = new ReadAhead(parts.relays, parts.clock);
  }

  /** Opens as many streams as there is room and work for, and returns at once. */
  advance(blobs: readonly SwarmBlob[], signal: AbortSignal): void {
    for (const blob of blobs) {
      while (this.tasks.size < MAX_STREAMS) {
        const reading = this.readings.get(blob) ?? { streams: 0, ranges: 'unknown' };
        const isAlone = reading.streams === 0;
        if (!isAlone && (reading.ranges !== 'yes' || this.ahead.isFar(blob))) break;
        const span = nextSpan({
          size: blob.size,
          mine: blob.mine,
          isElsewhere: (index) => blob.isReserved(index) || this.isOffered(blob, index),
          whole: reading.ranges === 'no',
        });
        if (!span) break;
        this.readings.set(blob, reading);
        this.begin(blob, reading, span, signal);
      }
    }
  }

  /** Resolves when no stream is open any more. */
  async end(): Promise<void> {
    await Promise.allSettled(this.tasks);
  }

  private begin(blob: SwarmBlob, reading: Reading, span: Span, signal: AbortSignal): void {
    const giveBack = blob.reserve(span.from, span.to);
    reading.streams += 1;
    const task = this.read(blob, reading, span, signal)
      .catch((error: unknown) => this.events.onFailure(error))
      .finally(() => {
        giveBack();
        reading.streams -= 1;
        this.tasks.delete(task);
        this.events.onChange();
      });
    this.tasks.add(task);
  }

  private async read(blob: SwarmBlob, reading: Reading, span: Span, signal: AbortSignal): Promise<void> {
    let { from } = span;
    const attempt = async (note: () => void): Promise<void> => {
      while (from < span.to && blob.mine.has(from)) from += 1;
      if (from === span.to) return;
      try {
        await this.stream(blob, reading, { from, to: span.to }, note, signal);
      } catch (error) {
        // Peers brought the rest meanwhile, and a stream of a registry without Range goes on over what is there.
        if (!blob.mine.isFull) throw error;
      }
    };
    await withRegistryRetries(attempt, this.parts.clock, signal);
  }

  private async stream(
    blob: SwarmBlob,
    reading: Reading,
    { from, to }: Span,
    note: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    const startedMs = this.parts.clock.monotonicMs();
    const { start } = chunkRange(blob.size, from);
    const end = to === blob.mine.length ? blob.size : chunkRange(blob.size, to).start;
    const stall = new StallTimer(
      STALL_MS,
      () => new PreheatFailure('timeout', `${this.source.name} sent nothing for ${STALL_MS / 1000} s`),
    );
    const alive = anySignal(signal, stall.signal);
    try {
      const opened = await this.source.open(blob.wanted, { start, end }, alive);
      const isWhole = opened.start === 0 && opened.end === blob.size;
      if (start > 0 || end < blob.size) reading.ranges = isWhole ? 'no' : 'yes';
      // A registry without Range sends everything: what is there already is passed over.
      let mayBeFar = true;
      const giveBack = isWhole ? blob.reserve(0, blob.mine.length) : undefined;
      try {
        await blob.partial.write(opened.start, opened.stream, alive, {
          onPiece: async (bytes) => {
            stall.touch();
            // Looking costs as much as the blob has chunks: too much for every piece.
            if (mayBeFar) await this.ahead.hold(blob, alive);
            mayBeFar = false;
            stall.touch();
            await this.parts.downlink.take(bytes, alive);
          },
          onChunk: (index) => {
            note();
            mayBeFar = true;
            this.events.onChunk(blob, index, startedMs);
          },
        });
      } finally {
        giveBack?.();
        opened.stream.destroy();
      }
    } finally {
      stall.stop();
    }
  }
}
