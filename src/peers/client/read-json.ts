import type { Readable } from 'node:stream';

import type { z } from 'zod';

import { readAtMost } from '../../common/read-at-most.js';
import { messageOf } from '../../domain/errors.js';
import { parseShallowJson } from '../../domain/shallow-json.js';
import { PeerError } from '../peer-error.js';
import type { AnswerLimits } from '../wire/answer-limits.js';

/**
 * Reads a peer's JSON answer and parses it. `schema` may walk it as a whole: there is no more of it than `limits` allow.
 * @throws PeerError `http` when it is longer, no JSON, has more values, or is something else than `schema` says
 */
export async function readJson<T>(body: Readable, schema: z.ZodType<T>, limits: AnswerLimits): Promise<T> {
  const { maxBytes, maxValues } = limits;
  const tooLong = (): PeerError =>
    new PeerError('http', `The peer answered with more than ${maxBytes} bytes.`);
  // When it is too long its connection is closed.
  const bytes = await readAtMost(body, maxBytes, tooLong);
  let json: unknown;
  try {
    json = parseShallowJson(bytes.toString('utf8'), maxValues);
  } catch (cause) {
    throw new PeerError('http', `The peer's answer cannot be read: ${messageOf(cause)}.`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new PeerError('http', 'The peer answered with JSON of another form than expected.', {
    cause: parsed.error,
  });
}
