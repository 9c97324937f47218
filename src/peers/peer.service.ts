import { type Readable } from 'node:stream';

import { Injectable } from '@nestjs/common';

import type { HostPort } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import type { AvailabilityAnswer, AvailabilityQuestion, BlobAvailability } from './availability.js';
import { AvailabilityClient } from './client/availability-client.js';
import { type PeerBlob, type PeerBlobRange, PeerClient } from './client/peer-client.js';
import { PeerDirectory } from './peer-directory.js';
import { PeerError } from './peer-error.js';
import type { Peer } from './peer-identity.js';
import { PeerProbe, type ProbeResult } from './peer-probe.js';
import { Quarantine } from './quarantine.js';
import type { RuntimeHolding } from './runtime-view.js';

/**
 * The other agents: who they are, what they have, and their bytes. Calls throw `PeerError` and count against the peer
 * that failed (it is skipped with backoff, not forgotten); an aborted signal rejects with its reason.
 */
@Injectable()
export class PeerService {
  private readonly quarantined = new Quarantine();
  /** Errors that have counted already: a caller may report what a call threw. */
  private readonly counted = new WeakSet();

  constructor(
    private readonly directory: PeerDirectory,
    private readonly availabilities: AvailabilityClient,
    private readonly client: PeerClient,
    private readonly prober: PeerProbe,
  ) {}

  /** A discovery has succeeded in this process, and every address it gave was asked once. */
  get discoveredOnce(): boolean {
    return this.directory.discoveredOnce;
  }

  /**
   * Everyone who answers: without ourselves, without those skipped for a while, each instance once.
   * @param image leaves out those quarantined for it
   */
  peers(image?: string): readonly Peer[] {
    const all = this.directory.peers();
    return image === undefined ? all : all.filter(({ instance }) => !this.quarantined.has(instance, image));
  }

  /** Looks for peers now. Rejects only when the signal aborts; a look-up that fails keeps the last list. */
  async refresh(signal: AbortSignal): Promise<void> {
    await this.directory.refresh(signal);
  }

  /**
   * Resolves when every agent that has called this one so far is among the peers, or could not be met. Whoever marks
   * what it is about to read has called everybody first: after this no such mark is overlooked. Rejects only when the
   * signal aborts.
   */
  async greeted(signal: AbortSignal): Promise<void> {
    await this.directory.greeted(signal);
  }

  /** What the peer has of the blobs; what it has nothing of is left out. */
  async availability(
    peer: Peer,
    question: AvailabilityQuestion,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<Digest, BlobAvailability>> {
    return (await this.ask(peer, question, signal)).blobs;
  }

  /** The same, and some others that are after those blobs. */
  async ask(peer: Peer, question: AvailabilityQuestion, signal: AbortSignal): Promise<AvailabilityAnswer> {
    return this.tracked(peer, signal, () => this.availabilities.ask(peer.address, question, signal));
  }

  /**
   * A range of a blob, or all of it from a peer that knows no ranges. The stream ends after exactly `end` − `start` bytes
   * or fails with a PeerError: `report` that one, and what its bytes turned out to be.
   */
  async openBlob(peer: Peer, digest: Digest, range: PeerBlobRange, signal: AbortSignal): Promise<PeerBlob> {
    return this.tracked(peer, signal, () => this.client.openBlob(peer.address, digest, range, signal));
  }

  /** One chunk of a blob. A peer that has no place for it now (PeerError `full`) is in good standing all the same. */
  async openChunk(
    peer: Peer,
    digest: Digest,
    range: Required<PeerBlobRange>,
    signal: AbortSignal,
  ): Promise<PeerBlob> {
    try {
      const opened = await this.client.openBlob(peer.address, digest, range, signal);
      this.directory.answered(peer.address);
      return opened;
    } catch (error) {
      const isFull = error instanceof PeerError && error.kind === 'full';
      if (!signal.aborted && !isFull) this.report(peer, error);
      throw error;
    }
  }

  /** What the peer's container runtime has as `image`, a normalised reference; undefined when it has nothing. */
  async inRuntime(peer: Peer, image: string, signal: AbortSignal): Promise<RuntimeHolding | undefined> {
    const present = await this.tracked(peer, signal, () =>
      this.client.present(peer.address, [image], signal),
    );
    return present.get(image);
  }

  /**
   * The image as the peer's `/images/download` sends it: a tar, of which nothing may be trusted.
   * @param sizeBytes about what the peer's runtime has to write before it sends the first byte
   */
  async openExport(peer: Peer, image: string, sizeBytes: number, signal: AbortSignal): Promise<Readable> {
    return this.tracked(peer, signal, () => this.client.openExport(peer.address, image, sizeBytes, signal));
  }

  /** Says that the peer failed; an error counts once, however often it is reported. */
  report(peer: Peer, error: unknown): void {
    if (typeof error === 'object' && error !== null) {
      if (this.counted.has(error)) return;
      this.counted.add(error);
    }
    this.directory.failed(peer.address, error);
  }

  /** The peer sent wrong bytes for `image`: this instance of it is not asked for that image again. */
  quarantine(peer: Peer, image: string): void {
    this.quarantined.add(peer.instance, image);
  }

  isQuarantined(peer: Peer, image: string): boolean {
    return this.quarantined.has(peer.instance, image);
  }

  /** Who is at `address` (`ip:port`, `[v6]:port`) now; `unlisted` for addresses that discovery does not list. */
  async probe(address: HostPort | string, signal: AbortSignal): Promise<ProbeResult> {
    return this.prober.probe(address, signal);
  }

  private async tracked<T>(peer: Peer, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    try {
      const result = await call();
      this.directory.answered(peer.address);
      return result;
    } catch (error) {
      if (!signal.aborted) this.report(peer, error);
      throw error;
    }
  }
}
