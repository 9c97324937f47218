import { Inject, Injectable, Logger } from '@nestjs/common';

import { Clock } from '../../common/clock.js';
import { AppConfig } from '../../config/app-config.js';
import type { Digest } from '../../domain/digest.js';
import { AppError, messageOf } from '../../domain/errors.js';
import { parseImageReference } from '../../domain/image-reference.js';
import type { Platform } from '../../domain/platform.js';
import type { BlobSource } from '../blob-source.js';
import type { ArchiveContent } from './archive-content.js';
import type { ArchiveImage, ArchiveProblem } from './archive-image.js';
import { ArchiveSource } from './archive-source.js';
import { type ArchiveCandidate, listArchives, MAX_ARCHIVES } from './mount-directory.js';
import { openArchive } from './open-archive.js';

/** `MOUNT_DIR` is looked at no more often than this. */
const MIN_REFRESH_MS = 1000;
/** Of one archive. */
const MAX_PROBLEMS = 20;

/** One archive as it was last seen; without content it is passed over until it changes. */
interface IndexedArchive {
  readonly signature: string;
  content?: ArchiveContent;
  readonly problems: Set<string>;
  /** Those of the state before: a file that is still being copied is not reported at every look. */
  readonly problemsBefore: ReadonlySet<string>;
}

/**
 * The image archives in `MOUNT_DIR`, by the names and digests inside them. Nothing is watched: whoever asks makes it look, and
 * only archives that have changed are read again, one at a time. What is broken is reported once and passed over.
 */
@Injectable()
export class ArchiveIndex {
  private readonly logger = new Logger(ArchiveIndex.name);
  private readonly archives = new Map<string, IndexedArchive>();
  private refreshedMs = Number.NEGATIVE_INFINITY;
  /** Settles when the look that is under way is over. */
  private tail: Promise<void> = Promise.resolve();

  constructor(
    @Inject(AppConfig) private readonly config: Pick<AppConfig, 'mountDir'>,
    @Inject(Clock) private readonly clock: Clock,
  ) {}

  /**
   * The image that an archive holds in full under this canonical name, for this platform; of several the first by
   * file name. A name with a digest is found by the digest alone.
   */
  async find(image: string, platform: Platform, signal: AbortSignal): Promise<ArchiveImage | undefined> {
    const { digest } = parseImageReference(image);
    return this.first(
      (content) =>
        digest === undefined
          ? content.imageNamed(image, platform)
          : content.imageWithDigest(digest, platform),
      signal,
    );
  }

  /**
   * An image around this config, under whatever name: the right layers by diffID, for runtimes that identify images by config.
   * Its manifest need not be the one that is trusted.
   */
  async findByConfig(config: Digest, signal: AbortSignal): Promise<ArchiveImage | undefined> {
    return this.first((content) => content.imageWithConfig(config), signal);
  }

  /** Any blob of any archive by its digest: roots, manifests (derived ones too), configs, layers. */
  source(): BlobSource {
    return new ArchiveSource(this.config.mountDir, {
      contents: (signal) => this.contents(signal),
      passOver: (content, error) => this.passOver(content, error),
    });
  }

  /**
   * Reports, once each, the archives that name `image` but hold another one than its record or list entry says.
   * Blobs of theirs that match by digest are still taken.
   * @param trusted what the reference means
   * @param config of its manifest for this platform, once known
   */
  async reportStale(
    image: string,
    trusted: Digest,
    config: Digest | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    for (const content of await this.contents(signal)) {
      if (!content.hasName(image) || (config !== undefined && content.hasConfig(config))) continue;
      if ((await content.blob(trusted)) === undefined)
        this.report(content.archive, `its ${image} is not ${trusted}, which the record or the list says`);
    }
  }

  /** What is wrong with the archives that are there now. */
  problems(): readonly ArchiveProblem[] {
    return [...this.archives].flatMap(([file, { problems }]) =>
      [...problems].map((reason) => ({ file, reason })),
    );
  }

  private async first(
    look: (content: ArchiveContent) => Promise<ArchiveImage | undefined>,
    signal: AbortSignal,
  ): Promise<ArchiveImage | undefined> {
    for (const content of await this.contents(signal)) {
      try {
        const image = await look(content);
        if (image) return image;
      } catch (error) {
        signal.throwIfAborted();
        this.report(content.archive, messageOf(error));
      }
    }
    return undefined;
  }

  private async contents(signal: AbortSignal): Promise<readonly ArchiveContent[]> {
    const turn = this.tail.then(() => this.refresh(signal));
    this.tail = turn.catch(() => undefined);
    await turn;
    return [...this.archives.values()]
      .flatMap(({ content }) => (content ? [content] : []))
      .sort((left, right) => (left.archive < right.archive ? -1 : 1));
  }

  private async refresh(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.clock.monotonicMs() - this.refreshedMs < MIN_REFRESH_MS) return;
    const candidates = await listArchives(this.config.mountDir);
    if (candidates.length > MAX_ARCHIVES)
      this.logger.warn(
        { directory: this.config.mountDir },
        'MOUNT_DIR holds too many archives, the last are passed over',
      );
    const kept = candidates.slice(0, MAX_ARCHIVES);
    const names = new Set(kept.map(({ name }) => name));
    for (const name of this.archives.keys()) if (!names.has(name)) this.archives.delete(name);
    for (const candidate of kept) {
      if (this.archives.get(candidate.name)?.signature !== candidate.signature)
        await this.index(candidate, signal);
    }
    this.refreshedMs = this.clock.monotonicMs();
  }

  private async index(candidate: ArchiveCandidate, signal: AbortSignal): Promise<void> {
    const archive: IndexedArchive = {
      signature: candidate.signature,
      problems: new Set(),
      problemsBefore: this.archives.get(candidate.name)?.problems ?? new Set(),
    };
    try {
      archive.content = await openArchive(this.config.mountDir, candidate, signal);
      this.archives.set(candidate.name, archive);
      this.logger.log({ archive: candidate.name }, 'archive indexed');
    } catch (error) {
      signal.throwIfAborted();
      // What is not the archive's fault (too many open files, a disk error) may be over at the next look.
      const signature = error instanceof AppError ? candidate.signature : '';
      this.archives.set(candidate.name, { ...archive, signature });
      this.report(candidate.name, messageOf(error));
    }
  }

  /** The archive is not asked again until it changes, if the error is its own. */
  private passOver(content: ArchiveContent, error: unknown): void {
    const archive = this.archives.get(content.archive);
    // Another state of the file may have been indexed since.
    if (archive?.content !== content) return;
    if (error instanceof AppError) delete archive.content;
    this.report(content.archive, messageOf(error));
  }

  private report(file: string, reason: string): void {
    const archive = this.archives.get(file);
    if (!archive || archive.problems.has(reason) || archive.problems.size >= MAX_PROBLEMS) return;
    archive.problems.add(reason);
    if (!archive.problemsBefore.has(reason))
      this.logger.warn({ archive: file, code: 'archive_invalid', reason }, 'archive passed over');
  }
}
