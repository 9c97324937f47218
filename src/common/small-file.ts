import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

import { InvalidInputError } from '../domain/errors.js';
import { errnoOf } from './errno.js';

/** Far above every document that an agent keeps. */
const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;

/**
 * Reads a document that an earlier process left, whole. Whatever else lies at its place, made by accident or on purpose,
 * must neither be waited for nor fill the memory.
 * @throws InvalidInputError `INVALID_FILE` when it is no regular file, or has more than `maxBytes`; NodeJS.ErrnoException
 */
export async function readSmallFile(path: string, maxBytes = MAX_DOCUMENT_BYTES): Promise<Buffer> {
  // Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw errnoOf(error) === 'ELOOP' ? notRegular(path) : error;
  });
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw notRegular(path);
    if (stats.size > maxBytes)
      throw new InvalidInputError(
        'INVALID_FILE',
        `${path} has ${stats.size} bytes; at most ${maxBytes} are accepted`,
      );
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function notRegular(path: string): InvalidInputError {
  return new InvalidInputError('INVALID_FILE', `${path} is not a regular file`);
}
