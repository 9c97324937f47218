import { constants, type BigIntStats } from 'node:fs';
import { open, stat } from 'node:fs/promises';

import { InvalidInputError } from '../domain/errors.js';
import { formatBytes } from '../common/units.js';

export const MAX_LIST_BYTES = 1024 * 1024;

/** Changes whenever the file behind a path is written, replaced, or swapped by a link on the way to it. */
export type FileIdentity = string;

/** @throws NodeJS.ErrnoException when there is none */
export async function identityOf(path: string): Promise<FileIdentity> {
  return toIdentity(await stat(path, { bigint: true }));
}

/**
 * Reads a list file as a whole.
 * @throws InvalidInputError `INVALID_LIST` when it is no regular file or above 1 MiB; NodeJS.ErrnoException
 */
export async function readListFile(path: string): Promise<{ bytes: Uint8Array; identity: FileIdentity }> {
  // Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await file.stat({ bigint: true });
    if (!stats.isFile()) throw new InvalidInputError('INVALID_LIST', 'the image list is not a regular file');
    const buffer = Buffer.allocUnsafe(MAX_LIST_BYTES + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length > MAX_LIST_BYTES) {
      throw new InvalidInputError(
        'INVALID_LIST',
        `the image list has ${formatBytes(Math.max(length, Number(stats.size)))}; at most 1 MiB is accepted`,
      );
    }
    return { bytes: Uint8Array.from(buffer.subarray(0, length)), identity: toIdentity(stats) };
  } finally {
    await file.close();
  }
}

function toIdentity({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): FileIdentity {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}
