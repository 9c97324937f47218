import { status } from '@grpc/grpc-js';
import { z } from 'zod';

import { AppError, messageOf, PreheatFailure } from '../../domain/errors.js';
import { failureFromText } from '../engine-failure.js';

/** What grpc-js rejects with, whether containerd or the channel failed. */
const refusal = z.object({ code: z.enum(status), details: z.string() });

/** gRPC's status; undefined for anything but a failed call. */
export function statusOf(error: unknown): status | undefined {
  const parsed = refusal.safeParse(error);
  return parsed.success ? parsed.data.code : undefined;
}

/**
 * What an error of a call means.
 * @param address where the call went, for the message
 * @param name see `failureFromText`
 */
export function containerdFailure(error: unknown, address: string, name?: string): AppError {
  if (error instanceof AppError) return error;
  const parsed = refusal.safeParse(error);
  const { code, details } = parsed.success
    ? parsed.data
    : { code: status.UNKNOWN, details: messageOf(error) };
  const unreachable = (why: string): PreheatFailure =>
    new PreheatFailure('runtime_unreachable', `containerd at ${address} ${why}`, { cause: error });
  // A pull fails with codes of its own: its words tell it from a connection that failed.
  if (code === status.UNAVAILABLE && !details.startsWith('failed to'))
    return unreachable(`cannot be asked: ${connectionError(details)}`);
  if (code === status.UNIMPLEMENTED)
    return unreachable('does not offer CRI v1: its CRI plugin is off, or it is older than 1.6');
  if (details.includes('server is not initialized yet')) return unreachable('is not ready yet');
  return failureFromText('containerd', details, name);
}

/** grpc-js puts what the system said behind advice for programmers. */
function connectionError(details: string): string {
  return /(connect [A-Z]+|read [A-Z]+|write [A-Z]+)/.exec(details)?.[1] ?? details.slice(0, 200);
}
