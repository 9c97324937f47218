import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { syncDirectory } from '../../common/atomic-file.js';
import { errnoOf } from '../../common/errno.js';
import { readSmallFile } from '../../common/small-file.js';
import { type Digest, hexOf } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import { MAX_MANIFEST_BYTES } from '../../domain/manifest.js';

/** The blobs of an OCI image layout. A file under `blobs/` is complete and verified; what is not yet is under `incoming/`. */
export class LayoutBlobs {
  private readonly blobs: string;
  private readonly incoming: string;

  constructor(directory: string) {
    this.blobs = join(directory, 'blobs', 'sha256');
    this.incoming = join(directory, 'incoming');
  }

  path(digest: Digest): string {
    return join(this.blobs, hexOf(digest));
  }

  /** In bytes; undefined when it is not there. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.path(digest))).size;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** A manifest. @throws InvalidInputError `INVALID_FILE` when it is longer than one may be, or no file */
  async readManifest(digest: Digest): Promise<Buffer | undefined> {
    try {
      return await readSmallFile(this.path(digest), MAX_MANIFEST_BYTES);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /**
   * Takes a blob in as it arrives.
   * @throws PreheatFailure `corrupt` when it has another size or digest
   */
  async write(
    digest: Digest,
    size: number,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    await Promise.all([mkdir(this.blobs, { recursive: true }), mkdir(this.incoming, { recursive: true })]);
    const temporary = join(this.incoming, `${hexOf(digest)}.${randomBytes(6).toString('hex')}`);
    try {
      await this.receive(temporary, digest, size, content);
      await rename(temporary, this.path(digest));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncDirectory(this.blobs);
  }

  /** Removes what a crash left half written. Only while nothing is being written. */
  async sweep(): Promise<void> {
    await rm(this.incoming, { recursive: true, force: true });
  }

  /** Removes every blob but these. */
  async keepOnly(digests: ReadonlySet<Digest>): Promise<void> {
    const kept = new Set([...digests].map(hexOf));
    const files = await readdir(this.blobs).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    });
    for (const file of files) if (!kept.has(file)) await rm(join(this.blobs, file), { force: true });
  }

  private async receive(
    path: string,
    digest: Digest,
    size: number,
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    const file = await open(path, 'wx', 0o644);
    try {
      const hash = createHash('sha256');
      let received = 0;
      for await (const chunk of content) {
        received += chunk.length;
        if (received > size) break;
        hash.update(chunk);
        await file.writeFile(chunk);
      }
      if (received !== size)
        throw new PreheatFailure(
          'corrupt',
          `${digest} has ${received > size ? 'more' : 'fewer'} than ${size} bytes`,
        );
      if (`sha256:${hash.digest('hex')}` !== digest)
        throw new PreheatFailure('corrupt', `the bytes of ${digest} have another digest`);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
