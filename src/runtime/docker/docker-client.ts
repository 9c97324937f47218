import { IncomingMessage } from 'node:http';

import { Inject, Injectable } from '@nestjs/common';
import type { z } from 'zod';

import { withTimeout } from '../../common/abort.js';
import { readAtMost } from '../../common/read-at-most.js';
import { AppConfig } from '../../config/app-config.js';
import { PreheatFailure } from '../../domain/errors.js';
import { parseShallowJson } from '../../domain/shallow-json.js';
import type { RegistryCredentials } from '../registry-auth.js';
import { connectDocker } from './docker-connection.js';
import { DockerRefusal, dockerFailure } from './docker-error.js';

const ANSWER_TIMEOUT_MS = 60_000;
/** Far above any list of a node's images. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Of a refusal, which is a sentence. */
const MAX_REFUSAL_BYTES = 64 * 1024;
/** docker-modem's own reading of a refusal has no bound, and throws in a listener where the answer is an odd JSON object. */
const EVERY_STATUS = Object.fromEntries(Array.from({ length: 1000 }, (_, status) => [status, true]));
const ACCEPTED: ReadonlySet<number | undefined> = new Set([200, 201, 204]);

export interface DockerRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Goes out as `X-Registry-Auth`. */
  readonly credentials?: RegistryCredentials | undefined;
}

/**
 * Requests to the Docker Engine, over dockerode's transport. Every answer is read as a stream: dockerode's own reading of
 * a JSON answer never ends when the daemon dies in the middle of it.
 */
@Injectable()
export class DockerClient {
  constructor(@Inject(AppConfig) private readonly config: AppConfig) {}

  get host(): string {
    return this.config.runtime.dockerHost;
  }

  /**
   * The body of a 2xx answer. Whoever takes it reads it to its end or destroys it.
   * @throws DockerRefusal for every other; what the connection failed with; the signal's reason when it aborts
   */
  async open(request: DockerRequest, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const { modem } = await connectDocker(this.config.runtime);
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        modem.dial(
          {
            method: request.method,
            // docker-modem adds a query only to what ends in a question mark.
            path: request.query === undefined ? request.path : `${request.path}?`,
            options: { _query: request.query ?? {}, _body: {} },
            authconfig: request.credentials,
            abortSignal: signal,
            isStream: true,
            statusCodes: EVERY_STATUS,
          },
          (error: Error | null, received) => {
            if (received instanceof IncomingMessage) resolve(received);
            else reject(error ?? new Error('no answer'));
          },
        );
      });
      if (ACCEPTED.has(answer.statusCode)) return answer;
      throw new DockerRefusal(answer.statusCode ?? 0, await readText(answer, MAX_REFUSAL_BYTES));
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }

  /**
   * A call that answers at once, checked by `schema`.
   * @throws PreheatFailure `runtime_unreachable` when there was no answer within a minute, `runtime_error` for a strange one
   */
  async ask<T>(request: DockerRequest, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
    const answer = await this.timed(request, signal, async (body): Promise<unknown> =>
      parseShallowJson(await readText(body, MAX_ANSWER_BYTES)),
    );
    const parsed = schema.safeParse(answer);
    if (parsed.success) return parsed.data;
    const { path = [], message = '' } = parsed.error.issues[0] ?? {};
    throw new PreheatFailure(
      'runtime_error',
      `Docker answered ${request.path} with something else: ${path.join('.')}: ${message}`,
    );
  }

  /** A call whose answer does not matter beyond its status. */
  async command(request: DockerRequest, signal: AbortSignal): Promise<void> {
    await this.timed(request, signal, (body) => readText(body, MAX_ANSWER_BYTES));
  }

  private timed<T>(
    request: DockerRequest,
    signal: AbortSignal,
    read: (body: IncomingMessage) => Promise<T>,
  ): Promise<T> {
    const late = (): PreheatFailure =>
      new PreheatFailure(
        'runtime_unreachable',
        `Docker at ${this.host} did not answer within ${ANSWER_TIMEOUT_MS} ms`,
      );
    return withTimeout(
      ANSWER_TIMEOUT_MS,
      late,
      async (limited) => {
        const body = await this.open(request, limited);
        try {
          return await read(body);
        } catch (error) {
          limited.throwIfAborted();
          throw dockerFailure(error, this.host);
        }
      },
      signal,
    );
  }
}

/** @throws PreheatFailure `runtime_error` when it is longer than `maxBytes` */
async function readText(body: IncomingMessage, maxBytes: number): Promise<string> {
  const tooLong = (): PreheatFailure =>
    new PreheatFailure('runtime_error', `Docker's answer has more than ${maxBytes} bytes`);
  return (await readAtMost(body, maxBytes, tooLong)).toString('utf8');
}
