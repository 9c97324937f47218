import { readFile, stat } from 'node:fs/promises';

import { Inject, Injectable, Logger } from '@nestjs/common';

import { Clock } from '../../common/clock.js';
import { AppConfig } from '../../config/app-config.js';
import { messageOf } from '../../domain/errors.js';
import { CredentialHelper } from './credential-helper.js';
import {
  credentialSources,
  type DockerConfig,
  EMPTY_DOCKER_CONFIG,
  parseDockerConfig,
} from './docker-config.js';
import type { RegistryCredential } from './registry-credential.js';
import { SharedCalls } from './shared-calls.js';

/** A helper may talk to a cloud's API: its answer is kept for a while. */
const HELPER_ANSWER_TTL_MS = 5 * 60_000;
const MAX_CONFIG_BYTES = 1024 * 1024;
const MAX_KEPT_ANSWERS = 256;

/** Credentials from `REGISTRY_CONFIG`, a Docker `config.json`. Read again when the file changes, and on `reload`. */
@Injectable()
export class CredentialStore {
  private readonly logger = new Logger(CredentialStore.name);
  private readonly path: string;
  private config: DockerConfig = EMPTY_DOCKER_CONFIG;
  private stamp: string | undefined;
  private readonly helperCalls = new SharedCalls<RegistryCredential | undefined>();
  private readonly helperAnswers = new Map<
    string,
    { readonly credential: RegistryCredential | undefined; readonly untilMs: number }
  >();

  constructor(
    @Inject(AppConfig) { registry }: Pick<AppConfig, 'registry'>,
    @Inject(CredentialHelper) private readonly helper: CredentialHelper,
    @Inject(Clock) private readonly clock: Clock,
  ) {
    this.path = registry.credentialsFile;
  }

  /** The credential for a repository; undefined to go without. Never throws but for the signal. */
  async find(
    registry: string,
    repository: string,
    signal: AbortSignal,
  ): Promise<RegistryCredential | undefined> {
    await this.refresh();
    for (const source of credentialSources(this.config, registry, repository)) {
      const credential =
        source.kind === 'file' ? source.credential : await this.askHelper(source.name, registry, signal);
      if (credential) return credential;
    }
    return undefined;
  }

  /** Forgets everything read: a registry has refused a credential, so there may be a newer one. */
  reload(): void {
    this.stamp = undefined;
    this.helperAnswers.clear();
  }

  private async refresh(): Promise<void> {
    let stamp: string;
    try {
      const { mtimeMs, size, ino } = await stat(this.path);
      stamp = `${mtimeMs} ${size} ${ino}`;
    } catch {
      // No file is a way to say "no credentials", and a Secret that is deleted takes its credentials with it.
      this.config = EMPTY_DOCKER_CONFIG;
      this.stamp = undefined;
      return;
    }
    if (stamp === this.stamp) return;
    this.stamp = stamp;
    this.helperAnswers.clear();
    try {
      const text = await readFile(this.path, 'utf8');
      if (text.length > MAX_CONFIG_BYTES) throw new Error('it is too large');
      this.config = parseDockerConfig(text);
    } catch (error) {
      // The last good one stays: an editor may be in the middle of writing.
      this.logger.warn({ file: this.path, reason: messageOf(error) }, 'REGISTRY_CONFIG cannot be used');
    }
  }

  private async askHelper(
    name: string,
    registry: string,
    signal: AbortSignal,
  ): Promise<RegistryCredential | undefined> {
    const serverUrl = registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry;
    const key = `${name} ${serverUrl}`;
    const kept = this.helperAnswers.get(key);
    if (kept && kept.untilMs > this.clock.monotonicMs()) return kept.credential;
    const credential = await this.helperCalls.run(
      key,
      (shared) => this.runHelper(name, serverUrl, shared),
      signal,
    );
    if (this.helperAnswers.size >= MAX_KEPT_ANSWERS) this.helperAnswers.clear();
    this.helperAnswers.set(key, { credential, untilMs: this.clock.monotonicMs() + HELPER_ANSWER_TTL_MS });
    return credential;
  }

  /** A broken helper must not stop a pull that needs no credential; one that does fails as `unauthorized`. */
  private async runHelper(
    name: string,
    serverUrl: string,
    signal: AbortSignal,
  ): Promise<RegistryCredential | undefined> {
    try {
      return await this.helper(name, serverUrl, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.logger.warn({ helper: name, reason: messageOf(error) }, 'Credential helper failed');
      return undefined;
    }
  }
}
