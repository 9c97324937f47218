import type { Readable } from 'node:stream';

import { messageOf, PreheatFailure } from '../domain/errors.js';
import type { ImagePinner } from './image-pinner.js';
import type { ImageRuntime, RuntimeSnapshot } from './image-runtime.js';
import type { RepoDigestRestorer } from './repo-digest-restorer.js';

/** A runtime that may be on this node. */
export interface RuntimeCandidate {
  /** As `RUNTIME` would name it. */
  readonly kind: string;
  /** Where it is looked for. */
  readonly address: string;
  readonly runtime: ImageRuntime & RepoDigestRestorer & ImagePinner;
  /** Resolves when it answers. */
  ping(signal: AbortSignal): Promise<void>;
}

/**
 * The first of several runtimes that answers, looked for when one is needed and again until one does: an agent may start
 * before its runtime. The one found stays for the life of the process; when it goes down, another is not taken in its place.
 */
export class DetectedRuntime implements ImageRuntime, RepoDigestRestorer, ImagePinner {
  private found: RuntimeCandidate | undefined;

  /** @param candidates in order of preference */
  constructor(private readonly candidates: readonly RuntimeCandidate[]) {}

  async list(signal: AbortSignal): Promise<RuntimeSnapshot> {
    return (await this.detect(signal)).list(signal);
  }

  async pull(name: string, signal: AbortSignal, onProgress?: () => void): Promise<void> {
    await (await this.detect(signal)).pull(name, signal, onProgress);
  }

  async tag(source: string, target: string, signal: AbortSignal): Promise<void> {
    await (await this.detect(signal)).tag(source, target, signal);
  }

  async untag(name: string, signal: AbortSignal): Promise<void> {
    await (await this.detect(signal)).untag(name, signal);
  }

  async export(name: string, signal: AbortSignal): Promise<Readable> {
    return (await this.detect(signal)).export(name, signal);
  }

  async restoreLocally(name: string, signal: AbortSignal): Promise<boolean> {
    return (await this.detect(signal)).restoreLocally(name, signal);
  }

  async restore(name: string, signal: AbortSignal): Promise<void> {
    await (await this.detect(signal)).restore(name, signal);
  }

  async pin(names: Iterable<string>, signal: AbortSignal): Promise<void> {
    await (await this.detect(signal)).pin(names, signal);
  }

  async unpinAllBut(names: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    await (await this.detect(signal)).unpinAllBut(names, signal);
  }

  private async detect(signal: AbortSignal): Promise<RuntimeCandidate['runtime']> {
    if (this.found) return this.found.runtime;
    const tried: string[] = [];
    for (const candidate of this.candidates) {
      try {
        await candidate.ping(signal);
        this.found ??= candidate;
        return this.found.runtime;
      } catch (error) {
        signal.throwIfAborted();
        tried.push(`${candidate.kind} at ${candidate.address} (${messageOf(error)})`);
      }
    }
    throw new PreheatFailure(
      'runtime_unreachable',
      `no container runtime answers; tried ${tried.join('; ')}. Set RUNTIME, DOCKER_HOST or CONTAINERD_ADDRESS if it is elsewhere`,
    );
  }
}
