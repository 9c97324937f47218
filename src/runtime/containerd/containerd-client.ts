import type { z } from 'zod';

import { withTimeout } from '../../common/abort.js';
import { PreheatFailure } from '../../domain/errors.js';
import { GrpcChannel, type GrpcCall } from './grpc-channel.js';

const ANSWER_TIMEOUT_MS = 60_000;

/** Calls to the containerd at one socket, whose answers are checked. */
export class ContainerdClient {
  private readonly channel: GrpcChannel;

  /** @param socketPath absolute */
  constructor(
    readonly socketPath: string,
    readonly namespace: string,
  ) {
    this.channel = new GrpcChannel(socketPath, namespace);
  }

  /**
   * A call that answers at once.
   * @throws PreheatFailure `runtime_unreachable` when there was no answer within a minute, `runtime_error` for a strange one;
   * what `GrpcChannel` throws
   */
  async ask<T>(call: GrpcCall, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
    const late = (): PreheatFailure =>
      new PreheatFailure(
        'runtime_unreachable',
        `containerd at ${this.socketPath} did not answer within ${ANSWER_TIMEOUT_MS} ms`,
      );
    const answer = await withTimeout(
      ANSWER_TIMEOUT_MS,
      late,
      (limited) => this.channel.unary(call, limited),
      signal,
    );
    return checked(call, answer, schema);
  }

  /** A call that takes as long as it takes. */
  async wait(call: GrpcCall, signal: AbortSignal): Promise<void> {
    await this.channel.unary(call, signal);
  }

  /** A call with many answers; leaving the loop ends it. Throws as `ask`, but for the time. */
  async *read<T>(call: GrpcCall, schema: z.ZodType<T>, signal: AbortSignal): AsyncGenerator<T, void> {
    for await (const answer of this.channel.stream(call, signal)) yield checked(call, answer, schema);
  }
}

function checked<T>({ method }: GrpcCall, answer: unknown, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const { path = [], message = '' } = parsed.error.issues[0] ?? {};
  throw new PreheatFailure(
    'runtime_error',
    `containerd answered ${method} with something else: ${path.join('.')}: ${message}`,
  );
}
