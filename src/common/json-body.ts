import type { IncomingMessage } from 'node:http';

import {
  BadRequestException,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
  PayloadTooLargeException,
  UnsupportedMediaTypeException,
  UseInterceptors,
} from '@nestjs/common';
import type { Request, Response } from 'express';
import type { Observable } from 'rxjs';

import { parseShallowJson } from '../domain/shallow-json.js';
import { readAtMost } from './read-at-most.js';

/** What checks a body takes longer than in proportion to them; twice what the longest question has. */
const MAX_VALUES = 10_000;
const JSON_TYPE = /^application\/json\s*(?:;|$)/i;
const CHARSET = /;\s*charset="?([^\s;"]+)/i;

/**
 * Declares that a route takes a JSON body of at most `maxBytes`. It is read once the guards have let the request in: the
 * application has no parser that reads bodies of strangers, of whom many at once would fill this process's memory.
 */
export const JsonBody = (maxBytes: number): MethodDecorator & ClassDecorator =>
  UseInterceptors(new JsonBodyReader(maxBytes));

class JsonBodyReader implements NestInterceptor {
  constructor(private readonly maxBytes: number) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const http = context.switchToHttp();
    const request = http.getRequest<Request>();
    try {
      request.body = await readJsonBody(request, this.maxBytes);
    } catch (error) {
      // The rest of the body is not read: nothing else can come over this connection.
      http.getResponse<Response>().setHeader('Connection', 'close');
      throw error;
    }
    return next.handle();
  }
}

/**
 * @returns undefined where the request has no body, or one of another type
 * @throws PayloadTooLargeException above `maxBytes`; UnsupportedMediaTypeException when it is compressed, or not in UTF-8;
 *   BadRequestException when it is neither a JSON object nor an array, or
 *   is nested too deep, or has more than 10,000 values; what the connection fails with
 */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const { headers } = request;
  const declaredBytes = Number(headers['content-length'] ?? 0);
  const hasBody = declaredBytes > 0 || headers['transfer-encoding'] !== undefined;
  if (!hasBody || !JSON_TYPE.test(headers['content-type'] ?? '')) return undefined;
  const charset = CHARSET.exec(headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  const encoding = headers['content-encoding'] ?? 'identity';
  if (charset.toLowerCase() !== 'utf-8' || encoding.toLowerCase() !== 'identity')
    throw new UnsupportedMediaTypeException();
  if (declaredBytes > maxBytes) throw new PayloadTooLargeException();
  // The connection has to outlive a refusal, which goes over it.
  const pieces = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  const body = await readAtMost(pieces, maxBytes, () => new PayloadTooLargeException());
  const parsed = parse(body.toString('utf8'));
  if (typeof parsed !== 'object' || parsed === null) throw new BadRequestException();
  return parsed;
}

function parse(text: string): unknown {
  try {
    return parseShallowJson(text, MAX_VALUES);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new BadRequestException();
  }
}
