import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { Inject, Injectable, Optional } from '@nestjs/common';
import { z } from 'zod';

import { Clock } from '../../common/clock.js';
import { InvalidInputError, PreheatFailure } from '../../domain/errors.js';
import { parseImageReference, repositoryName } from '../../domain/image-reference.js';
import { CoalescedCall } from '../coalesced-call.js';
import type { ImagePinner } from '../image-pinner.js';
import type { ImageRuntime, RuntimeSnapshot } from '../image-runtime.js';
import { NoPins } from '../no-pins.js';
import { RegistryAuth, type RegistryCredentials } from '../registry-auth.js';
import type { RepoDigestRestorer } from '../repo-digest-restorer.js';
import { DockerClient } from './docker-client.js';
import { dockerFailure, engineFailure, restoreFailure, statusOf } from './docker-error.js';
import { dockerImage, dockerInfo, type DockerStore, snapshotOf } from './docker-images.js';
import { readPullProgress } from './pull-progress.js';
import { TarEndCheck } from './tar-end-check.js';

/** A daemon keeps its image store for life, but another may come back at the same socket. */
const STORE_TTL_MS = 60_000;
const MAX_IMAGES = 100_000;

/** The Docker Engine at `DOCKER_HOST`, with either of its image stores. */
@Injectable()
export class DockerService implements ImageRuntime, RepoDigestRestorer, ImagePinner {
  private readonly listing = new CoalescedCall((signal) => this.readImages(signal));
  private readonly pins = new NoPins('docker');
  private store: { readonly value: DockerStore; readonly readAtMs: number } | undefined;

  constructor(
    private readonly client: DockerClient,
    @Inject(Clock) private readonly clock: Clock,
    @Optional() @Inject(RegistryAuth) private readonly auth?: RegistryAuth,
  ) {}

  /** Where the engine is looked for. */
  get address(): string {
    return this.client.host;
  }

  /** Resolves when the engine answers. @throws PreheatFailure `runtime_unreachable` or `runtime_error` */
  async ping(signal: AbortSignal): Promise<void> {
    await this.attempt(() => this.client.command({ method: 'GET', path: '/_ping' }, signal), signal);
  }

  list(signal: AbortSignal): Promise<RuntimeSnapshot> {
    return this.listing.run(signal);
  }

  async pull(name: string, signal: AbortSignal, onProgress?: () => void): Promise<void> {
    await this.attempt(() => this.pullFrom(name, undefined, signal, onProgress), signal, name);
  }

  async tag(source: string, target: string, signal: AbortSignal): Promise<void> {
    const reference = parseImageReference(target);
    if (reference.tag === undefined || reference.digest !== undefined)
      throw new InvalidInputError('INVALID_REFERENCE', `"${target}" is not a tag: Docker tags by name alone`);
    const query = { repo: repositoryName(reference), tag: reference.tag };
    await this.attempt(
      () => this.client.command({ method: 'POST', path: `/images/${source}/tag`, query }, signal),
      signal,
      source,
    );
    this.listing.separate();
  }

  async untag(name: string, signal: AbortSignal): Promise<void> {
    await this.attempt(async () => {
      try {
        const query = { noprune: '1' };
        await this.client.command({ method: 'DELETE', path: `/images/${name}`, query }, signal);
      } catch (error) {
        if (statusOf(error) !== 404) throw error;
      }
    }, signal);
    this.listing.separate();
  }

  export(name: string, signal: AbortSignal): Promise<Readable> {
    return this.attempt(async () => {
      // The containerd store begins to answer before it looks for the image.
      if (!(await this.exists(name, signal)))
        throw new PreheatFailure('not_found', `Docker has no image ${name}`);
      const body = await this.client.open({ method: 'GET', path: `/images/${name}/get` }, signal);
      const tar = new TarEndCheck();
      // A connection that breaks, or the signal, destroys `tar`: its reader is who learns of it.
      pipeline(body, tar, { signal }).catch(() => undefined);
      return tar;
    }, signal);
  }

  restoreLocally(name: string, signal: AbortSignal): Promise<boolean> {
    return this.attempt(() => this.exists(name, signal), signal);
  }

  async restore(name: string, signal: AbortSignal): Promise<void> {
    await this.attempt(async () => {
      if (await this.exists(name, signal)) return;
      const credentials = await this.auth?.forRepository(parseImageReference(name), signal);
      try {
        await this.pullFrom(name, credentials, signal);
      } catch (error) {
        signal.throwIfAborted();
        throw restoreFailure(error, name);
      }
    }, signal);
  }

  pin(): Promise<void> {
    return this.pins.pin();
  }

  unpinAllBut(): Promise<void> {
    return this.pins.unpinAllBut();
  }

  private async pullFrom(
    name: string,
    credentials: RegistryCredentials | undefined,
    signal: AbortSignal,
    onProgress?: () => void,
  ): Promise<void> {
    const reference = parseImageReference(name);
    const query = {
      fromImage: repositoryName(reference),
      tag: reference.digest ?? reference.tag ?? 'latest',
    };
    const body = await this.client.open(
      { method: 'POST', path: '/images/create', query, credentials },
      signal,
    );
    const output = await readPullProgress(body, name, onProgress);
    this.listing.separate();
    if (await this.exists(name, signal)) return;
    throw engineFailure(output ?? 'the pull ended without an error, and without the image', name);
  }

  private async exists(name: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.client.ask({ method: 'GET', path: `/images/${name}/json` }, dockerImage, signal);
      return true;
    } catch (error) {
      if (statusOf(error) === 404) return false;
      throw error;
    }
  }

  private async readImages(signal: AbortSignal): Promise<RuntimeSnapshot> {
    return this.attempt(async () => {
      const request = { method: 'GET', path: '/images/json', query: { digests: '1' } } as const;
      const store = await this.readStore(signal);
      return snapshotOf(await this.client.ask(request, z.array(dockerImage).max(MAX_IMAGES), signal), store);
    }, signal);
  }

  private async readStore(signal: AbortSignal): Promise<DockerStore> {
    const now = this.clock.monotonicMs();
    if (this.store && now - this.store.readAtMs < STORE_TTL_MS) return this.store.value;
    const value = await this.client.ask({ method: 'GET', path: '/info' }, dockerInfo, signal);
    this.store = { value, readAtMs: now };
    return value;
  }

  /** Turns what Docker or the connection to it threw into the failures of the contract. */
  private async attempt<T>(work: () => Promise<T>, signal: AbortSignal, name?: string): Promise<T> {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      const failure = dockerFailure(error, this.client.host, name);
      if (failure.code === 'RUNTIME_UNREACHABLE') this.store = undefined;
      throw failure;
    }
  }
}
