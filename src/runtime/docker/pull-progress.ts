import { z } from 'zod';

import { PreheatFailure } from '../../domain/errors.js';
import { engineFailure } from './docker-error.js';

/** Docker's lines are a few hundred bytes. */
const MAX_LINE_LENGTH = 64 * 1024;

const progressLine = z.object({
  error: z.string().optional(),
  errorDetail: z.object({ message: z.string().optional() }).optional(),
  stream: z.string().optional(),
});

/**
 * Reads the JSON lines that a pull answers with, in a 200, to their end. Errors come as `error` and `errorDetail`; some
 * come only as a `stream` line, which looks like output: the last of those is returned, and is the explanation if the
 * image is not there in the end.
 * @param name see `dockerFailure`
 * @throws PreheatFailure for an error in it; whatever the stream is destroyed with
 */
export async function readPullProgress(
  body: AsyncIterable<Buffer>,
  name: string,
  onProgress?: () => void,
): Promise<string | undefined> {
  let output: string | undefined;
  for await (const text of lines(body)) {
    onProgress?.();
    const line = parseLine(text);
    const error = line.errorDetail?.message ?? line.error;
    if (error !== undefined) throw engineFailure(error, name);
    output = line.stream ?? output;
  }
  return output;
}

function parseLine(text: string): z.infer<typeof progressLine> {
  try {
    return progressLine.parse(JSON.parse(text));
  } catch (cause) {
    throw new PreheatFailure('runtime_error', 'Docker sent a progress line that is not understood', {
      cause,
    });
  }
}

async function* lines(body: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > MAX_LINE_LENGTH)
      throw new PreheatFailure('runtime_error', 'Docker sent a progress line without an end');
    yield* parts.filter(isText);
  }
  if (isText(rest)) yield rest;
}

function isText(line: string): boolean {
  return line.trim() !== '';
}
