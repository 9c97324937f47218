import type { Readable } from 'node:stream';

import type { z } from 'zod';

import { messageOf } from '../../domain/errors.js';
import { parseShallowJson } from '../../domain/shallow-json.js';
import { PeerError } from '../peer-error.js';
import type { AnswerLimits } from '../wire/answer-limits.js';

/**
 * Reads a peer's JSON answer and parses it. `schema` may walk it as a whole: there is no more of it than `limits` allow.
 * @throws PeerError `http` when it is longer, no JSON, has more values, or is something else than `schema` says
 */
export async function readJson<T>(body: Readable, schema: z.ZodType<T>, limits: AnswerLimits): Promise<T> {
  const text = await readText(body, limits.maxBytes);
  let json: unknown;
  try {
    json = parseShallowJson(text, limits.maxValues);
  } catch (cause) {
    throw new PeerError('http', `The peer's answer cannot be read: ${messageOf(cause)}.`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new PeerError('http', 'The peer answered with JSON of another form than expected.', {
    cause: parsed.error,
  });
}

async function readText(body: Readable, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of body as AsyncIterable<Buffer>) {
    size += part.length;
    // Leaving the loop destroys the body, and with it the connection.
    if (size > maxBytes) throw new PeerError('http', `The peer answered with more than ${maxBytes} bytes.`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
