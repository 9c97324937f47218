import { Readable } from 'node:stream';

import { status } from '@grpc/grpc-js';
import { z } from 'zod';

import type { BlobOpener, OpenBlob } from '../../common/tar/image-tar.js';
import type { StoredBlobs } from '../../common/tar/image-tar-plan.js';
import type { Digest } from '../../domain/digest.js';
import type { ContainerdClient } from './containerd-client.js';
import { containerdFailure, statusOf } from './containerd-error.js';

const SERVICE = 'containerd.services.content.v1.Content';

const blobInfo = z.object({ info: z.object({ size: z.coerce.number() }) });
const piece = z.object({ data: z.instanceof(Buffer) });

/**
 * The blobs that containerd keeps. With `discard_unpacked_layers` these are manifests and configs alone.
 * @param signal ends every call that is made through it
 */
export class ContentStore implements StoredBlobs, BlobOpener {
  constructor(
    private readonly client: ContainerdClient,
    private readonly signal: AbortSignal,
  ) {}

  async sizeOf(digest: Digest): Promise<number | undefined> {
    const call = { service: SERVICE, method: 'Info', request: { digest } };
    try {
      return (await this.client.ask(call, blobInfo, this.signal)).info.size;
    } catch (error) {
      if (statusOf(error) === status.NOT_FOUND) return undefined;
      throw error;
    }
  }

  async readBytes(digest: Digest, maxBytes: number): Promise<Buffer | undefined> {
    const size = await this.sizeOf(digest);
    if (size === undefined || size > maxBytes) return undefined;
    const pieces: Buffer[] = [];
    for await (const bytes of this.pieces(digest, 0, size, this.signal)) pieces.push(bytes);
    return Buffer.concat(pieces);
  }

  async openBlob(digest: Digest): Promise<OpenBlob | undefined> {
    const size = await this.sizeOf(digest);
    if (size === undefined) return undefined;
    return {
      size,
      stream: (start, endExclusive, signal) =>
        Readable.from(this.pieces(digest, start, endExclusive - start, signal), { objectMode: false }),
      close: () => Promise.resolve(),
    };
  }

  private async *pieces(
    digest: Digest,
    offset: number,
    size: number,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void> {
    // For containerd, 0 bytes are all of them; and one that is empty has none to send.
    if (size === 0) return;
    const call = { service: SERVICE, method: 'Read', request: { digest, offset, size } };
    try {
      for await (const { data } of this.client.read(call, piece, signal)) yield data;
    } catch (error) {
      signal.throwIfAborted();
      throw containerdFailure(error, this.client.socketPath);
    }
  }
}
