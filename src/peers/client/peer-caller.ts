import { Injectable } from '@nestjs/common';
import type { Dispatcher } from 'undici';

import type { HostPort } from '../../config/app-config.js';
import { PeerError } from '../peer-error.js';
import { IDENTITY_HEADERS, type PeerIdentity } from '../peer-identity.js';
import type { OutgoingSession } from './outgoing-session.js';
import { OutgoingSessions } from './outgoing-sessions.js';
import { discard, type PeerRequest, PeerTransport } from './peer-transport.js';

/** An answer of a peer, and who gave it. The body must be read or destroyed. */
export interface PeerAnswer {
  readonly identity: PeerIdentity;
  readonly status: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly body: Dispatcher.ResponseData['body'];
}

/** A request as its caller sees it; what proves it is added here. A body is JSON. */
export interface PeerCall extends Omit<PeerRequest, 'headers'> {
  /** `bytes=…` */
  readonly range?: string;
}

/** Requests to peers within sessions. A 401 (the peer restarted, or forgot us) leads to one new handshake. */
@Injectable()
export class PeerCaller {
  constructor(
    private readonly sessions: OutgoingSessions,
    private readonly transport: PeerTransport,
  ) {}

  /**
   * @returns an answer with one of `accepted` as its status
   * @throws PeerError; the signal's reason when it aborts
   */
  async call(
    address: HostPort,
    request: PeerCall,
    accepted: readonly number[],
    signal: AbortSignal,
  ): Promise<PeerAnswer> {
    const first = await this.sessions.with(address, signal);
    let answer = await this.send(first, address, request, signal);
    if (answer.status === 401) {
      await discard(answer.body);
      this.sessions.drop(address, first);
      const second = await this.sessions.with(address, signal);
      answer = await this.send(second, address, request, signal);
    }
    if (accepted.includes(answer.status)) return answer;
    await discard(answer.body);
    throw toStatusError(answer);
  }

  private async send(
    session: OutgoingSession,
    address: HostPort,
    request: PeerCall,
    signal: AbortSignal,
  ): Promise<PeerAnswer> {
    const { method, path, range } = request;
    const headers = (): Record<string, string> => ({
      ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(range === undefined ? {} : { range }),
      ...session.headersFor(method, path, range),
    });
    const response = await this.transport.send(address, { ...request, headers }, signal);
    // Another process answers there now: the next call asks who it is.
    const instance = response.headers[IDENTITY_HEADERS.instance.toLowerCase()];
    if (instance !== undefined && instance !== session.identity.instance)
      this.sessions.drop(address, session);
    return {
      identity: session.identity,
      status: response.statusCode,
      headers: response.headers,
      body: response.body,
    };
  }
}

function toStatusError({ status, headers }: PeerAnswer): PeerError {
  const retryAfterSeconds = Number(headers['retry-after']);
  const retryAfterMs = retryAfterSeconds > 0 ? Math.min(retryAfterSeconds, 3600) * 1000 : undefined;
  const options = { status, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  switch (status) {
    case 401:
      return new PeerError('auth', 'The peer does not accept our session.', options);
    case 429:
      return new PeerError('full', 'The peer serves as many as it can.', options);
    case 404:
      return new PeerError('http', 'The peer has not what it was asked for.', options);
    default:
      return new PeerError('http', `The peer answered with status ${status}.`, options);
  }
}
