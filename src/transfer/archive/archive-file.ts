import { constants, type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { errnoOf } from '../../common/errno.js';
import { archiveInvalid } from './archive-reader.js';

const READ_BYTES = 256 * 1024;
/** `ELOOP`: it has become a symbolic link. */
const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ELOOP', 'ENOTDIR']);

/** Tells one state of a file from another without reading it. */
export function fileSignature(stat: {
  dev: bigint;
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
}): string {
  return [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(':');
}

/** One regular file as it was when it was indexed. */
export class ArchiveFile {
  constructor(
    private readonly path: string,
    private readonly signature: string,
    readonly sizeBytes: number,
  ) {}

  /** undefined for what is not a regular file: folders, symbolic links, devices. */
  static async at(directory: string, name: string): Promise<ArchiveFile | undefined> {
    const path = join(directory, name);
    const stat = await lstat(path, { bigint: true });
    return stat.isFile() ? new ArchiveFile(path, fileSignature(stat), Number(stat.size)) : undefined;
  }

  /** @throws PreheatFailure `archive_invalid` when the file is another one by now. The caller closes it. */
  async open(): Promise<FileHandle> {
    // Neither followed, should it have become a link, nor waited for, should it have become a FIFO.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await open(this.path, flags).catch((cause: unknown) => {
      throw GONE.has(errnoOf(cause) ?? '') ? archiveInvalid('it is gone', cause) : cause;
    });
    try {
      if (fileSignature(await file.stat({ bigint: true })) === this.signature) return file;
      throw archiveInvalid('it has changed since it was indexed');
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The bytes `[start, endExclusive)`; closes the file when it ends or is destroyed. */
  async stream(start: number, endExclusive: number, signal: AbortSignal): Promise<Readable> {
    signal.throwIfAborted();
    if (endExclusive <= start) return Readable.from([]);
    const file = await this.open();
    return file.createReadStream({ start, end: endExclusive - 1, highWaterMark: READ_BYTES, signal });
  }
}
