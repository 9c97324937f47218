import { pipeline, type Readable } from 'node:stream';

import { Inject, Injectable } from '@nestjs/common';

import { type ContentRange, parseContentLength, parseContentRange } from '../common/content-range.js';
import { AppConfig } from '../config/app-config.js';
import { type Digest, digestOf, isDigest } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import { type ImageReference, repositoryName } from '../domain/image-reference.js';
import {
  ACCEPTED_MANIFEST_TYPES,
  isManifestType,
  MAX_MANIFEST_BYTES,
  parseManifest,
} from '../domain/manifest.js';
import { BlobBody } from './http/blob-body.js';
import { readBody } from './http/read-body.js';
import { discard, type RegistryResponse } from './http/registry-transport.js';
import { RegistryByteCounter } from './registry-byte-counter.js';
import { registryEndpoint } from './registry-endpoint.js';
import { type RegistryQuestion, RegistryRequester } from './registry-requester.js';

/** What a reference means at its registry. */
export interface ResolvedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Of the manifest itself, bytes. */
  readonly size: number;
}

/** Bytes `[start, end)` of a blob, or all from `start` on. */
export interface BlobRange {
  readonly start: number;
  readonly end?: number;
}

/** A blob being read. */
export interface OpenedBlob {
  /** Where the stream begins: what was asked for, or 0 from a registry without Range. */
  readonly start: number;
  /** Where it ends, exclusively: what was asked for, or the blob's end from a registry without Range. */
  readonly end: number;
  /** Of the whole blob, bytes. */
  readonly size: number;
  /** Ends after exactly `end - start` bytes, or fails with a `PreheatFailure`. Its content is not checked. */
  readonly stream: Readable;
}

const ACCEPT = ACCEPTED_MANIFEST_TYPES.join(', ');
/** The registry's bytes as they are: a digest is over those. */
const IDENTITY = { 'accept-encoding': 'identity' };

/**
 * Reads images from registries by the OCI distribution API. Each call retries what may pass within seconds and asks
 * the registry itself anew each time.
 *
 * All methods throw `PreheatFailure` with `unauthorized` (401, 403), `not_found` (404), `rate_limited` (429;
 * `retryAfterMs` when the registry said so), `registry_unreachable` (network, TLS) or `registry_error` (5xx, or an
 * answer that breaks the protocol), or the signal's reason.
 */
@Injectable()
export class RegistryClient {
  private readonly insecure: readonly string[];

  constructor(
    @Inject(AppConfig) { registry }: Pick<AppConfig, 'registry'>,
    private readonly requester: RegistryRequester,
    @Inject(RegistryByteCounter) private readonly counter: RegistryByteCounter,
  ) {
    this.insecure = registry.insecure;
  }

  /** Resolves the reference's digest, else its tag: one HEAD, and a GET only where that does not tell everything. */
  async resolve(reference: ImageReference, signal: AbortSignal): Promise<ResolvedManifest> {
    const question = this.manifestQuestion(reference, reference.digest ?? reference.tag ?? 'latest');
    return this.requester.withRetries(async () => {
      const response = await this.requester.ask({ ...question, method: 'HEAD' }, signal);
      discard(response);
      const digest = response.header('docker-content-digest');
      const mediaType = mediaTypeOf(response);
      const size = parseContentLength(response.header('content-length'));
      if (digest === undefined || !isDigest(digest) || !isManifestType(mediaType) || !size) {
        return this.resolveByContent(question, reference.digest, signal);
      }
      requireDigest(question.what, reference.digest, digest);
      return { digest, mediaType, size };
    }, signal);
  }

  /** The manifest (or index) with this digest, at most 4 MiB. @throws PreheatFailure also `corrupt` when the bytes are others */
  async manifest(reference: ImageReference, digest: Digest, signal: AbortSignal): Promise<Buffer> {
    const question = this.manifestQuestion(reference, digest);
    return this.requester.withRetries(async () => {
      const bytes = await this.readManifest(question, signal);
      requireDigest(question.what, digest, digestOf(bytes));
      return bytes;
    }, signal);
  }

  /**
   * Opens a range of a blob. Only the opening is retried: when the stream fails midway, the caller has the
   * bytes so far and opens again where they end. Abort the signal or destroy the stream to stop.
   */
  async blob(
    reference: ImageReference,
    digest: Digest,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<OpenedBlob> {
    const question: RegistryQuestion = {
      ...this.placeOf(reference),
      method: 'GET',
      path: `blobs/${digest}`,
      headers: { ...IDENTITY, ...rangeHeader(range) },
      what: `blob ${digest} of ${repositoryName(reference)}`,
    };
    return this.requester.withRetries(async () => {
      const response = await this.requester.ask(question, signal);
      const extent = extentOf(response, range);
      if (!extent) {
        discard(response);
        throw new PreheatFailure('registry_error', `${question.what}: the answer is not the range asked for`);
      }
      const body = new BlobBody(
        extent.end - extent.start,
        question.what,
        (count) => this.counter.registryBytes(count),
        signal,
      );
      // The outcome shows on `body`, which its reader owns.
      pipeline(response.body, body, () => undefined);
      return { ...extent, stream: body };
    }, signal);
  }

  private async resolveByContent(
    question: RegistryQuestion,
    wanted: Digest | undefined,
    signal: AbortSignal,
  ): Promise<ResolvedManifest> {
    const bytes = await this.readManifest(question, signal);
    const digest = digestOf(bytes);
    requireDigest(question.what, wanted, digest);
    return { digest, mediaType: parseManifest(bytes).mediaType, size: bytes.length };
  }

  private async readManifest(question: RegistryQuestion, signal: AbortSignal): Promise<Buffer> {
    const response = await this.requester.ask(question, signal);
    return readBody(response, question.what, MAX_MANIFEST_BYTES, signal);
  }

  private manifestQuestion(reference: ImageReference, name: string): RegistryQuestion {
    return {
      ...this.placeOf(reference),
      method: 'GET',
      path: `manifests/${name}`,
      headers: { ...IDENTITY, accept: ACCEPT },
      what: `manifest ${name} of ${repositoryName(reference)}`,
    };
  }

  private placeOf({
    registry,
    repository,
  }: ImageReference): Pick<RegistryQuestion, 'endpoint' | 'repository'> {
    return { endpoint: registryEndpoint(registry, this.insecure), repository };
  }
}

function mediaTypeOf(response: RegistryResponse): string {
  return (response.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** What part of the blob an answer carries: all of it (200), or exactly the range that was asked for (206). */
function extentOf(response: RegistryResponse, wanted: BlobRange): ContentRange | undefined {
  const length = parseContentLength(response.header('content-length'));
  if (response.status === 200)
    return length === undefined ? undefined : { start: 0, end: length, size: length };
  const range = parseContentRange(response.header('content-range') ?? '');
  if (range?.start !== wanted.start || range.end !== (wanted.end ?? range.size)) return undefined;
  return length === undefined || length === range.end - range.start ? range : undefined;
}

/** None for the whole blob. The last byte is named, not the one after it (RFC 9110, 14.1.2). */
function rangeHeader({ start, end }: BlobRange): { range?: string } {
  if (start === 0 && end === undefined) return {};
  return { range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
}

function requireDigest(what: string, wanted: Digest | undefined, actual: Digest): void {
  if (wanted === undefined || wanted === actual) return;
  throw new PreheatFailure('corrupt', `${what}: the registry answered with ${actual}`);
}
