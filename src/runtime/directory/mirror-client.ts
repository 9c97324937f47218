import type { Readable } from 'node:stream';

import { request } from 'undici';

import { type Digest, digestOf } from '../../domain/digest.js';
import { messageOf, PreheatFailure } from '../../domain/errors.js';
import type { ImageReference } from '../../domain/image-reference.js';
import { ACCEPTED_MANIFEST_TYPES, MAX_MANIFEST_BYTES } from '../../domain/manifest.js';

export type MirrorPath = 'manifests' | 'blobs';

/** Reads one repository of the agent's own mirror, as an engine would. */
export class MirrorClient {
  private readonly base: string;

  constructor({ registry, repository }: ImageReference) {
    this.base = `http://${registry}/v2/${repository}`;
  }

  private async open(path: MirrorPath, digest: Digest, signal: AbortSignal): Promise<Readable> {
    let answer: Awaited<ReturnType<typeof request>>;
    try {
      answer = await request(`${this.base}/${path}/${digest}`, {
        headers: path === 'manifests' ? { accept: ACCEPTED_MANIFEST_TYPES.join(', ') } : {},
        signal,
      });
    } catch (cause) {
      signal.throwIfAborted();
      throw new PreheatFailure('runtime_error', `the mirror cannot be read: ${messageOf(cause)}`, { cause });
    }
    if (answer.statusCode === 200) return answer.body;
    await answer.body.dump();
    throw new PreheatFailure(
      'runtime_error',
      `the mirror answered ${answer.statusCode} for ${path.slice(0, -1)} ${digest}`,
    );
  }

  /**
   * A blob as it arrives, not yet verified.
   * @param onProgress called for every piece
   * @throws PreheatFailure `runtime_error`, also midway
   */
  async *read(
    path: MirrorPath,
    digest: Digest,
    signal: AbortSignal,
    onProgress?: () => void,
  ): AsyncGenerator<Buffer, void> {
    const body = await this.open(path, digest, signal);
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        onProgress?.();
        yield chunk;
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw new PreheatFailure('runtime_error', `the mirror broke off: ${messageOf(cause)}`, { cause });
    }
  }

  /** @throws PreheatFailure `runtime_error`, and `corrupt` when it is not what the digest says */
  async manifest(digest: Digest, signal: AbortSignal): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of this.read('manifests', digest, signal)) {
      size += chunk.length;
      if (size > MAX_MANIFEST_BYTES) break;
      chunks.push(chunk);
    }
    const bytes = Buffer.concat(chunks);
    if (size <= MAX_MANIFEST_BYTES && digestOf(bytes) === digest) return bytes;
    throw new PreheatFailure('corrupt', `the mirror sent something else for manifest ${digest}`);
  }
}
