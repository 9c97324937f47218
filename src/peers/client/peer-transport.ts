import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Agent, buildConnector, type Dispatcher, errors, request } from 'undici';

import { errnoOf } from '../../common/errno.js';
import type { HostPort } from '../../config/app-config.js';
import { messageOf } from '../../domain/errors.js';
import { formatAddress } from '../peer-address.js';
import { PeerError } from '../peer-error.js';
import { AgentCertificates } from '../tls/agent-certificates.js';
import type { TlsMaterial } from '../tls/tls-files.js';

/** `control` calls are small and must never wait behind the streams of `data` calls. */
export type Lane = 'control' | 'data';

export interface PeerRequest {
  readonly lane: Lane;
  readonly method: 'GET' | 'HEAD' | 'POST';
  /** Path with query, as it goes into the request line. */
  readonly path: string;
  /** Called for each attempt: what proves a request is good once. */
  readonly headers?: () => Readonly<Record<string, string>>;
  readonly body?: string;
  /** Longest wait for the answer to begin, milliseconds. */
  readonly headersTimeoutMs: number;
  /** Longest pause between two pieces of the body, milliseconds. */
  readonly bodyTimeoutMs: number;
}

/** At most this many connections to one peer, by lane. */
const CONNECTIONS: Readonly<Record<Lane, number>> = { control: 2, data: 6 };
/** More than this, or longer, is not worth reading: the connection is closed instead. */
const DISCARD_LIMIT_BYTES = 65_536;
const DISCARD_TIMEOUT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
/** Between two polls of a peer; below Node's own limit for idle server connections (5 s). */
const KEEP_ALIVE_MS = 4_000;

/** So long may a call that is under way when the certificates change go on: a chunk takes seconds, the rest is asked for again. */
const OUTDATED_LIMIT_MS = 60_000;

/**
 * HTTP to other agents, over mutual TLS where that is set up: kept-alive connections, few to each. Peers are never
 * proxied: the connections are made here, whatever the environment or undici's global dispatcher says.
 */
@Injectable()
export class PeerTransport implements OnModuleDestroy {
  private agents: Readonly<Record<Lane, Agent>>;
  /** With connections made under the certificates before. */
  private readonly outdated = new Set<Agent>();

  constructor(private readonly certificates: AgentCertificates) {
    this.agents = makeAgents(certificates);
    certificates.onChange(() => {
      const before = Object.values(this.agents);
      this.agents = makeAgents(certificates);
      for (const agent of before) void this.retire(agent);
    });
  }

  /**
   * Sends a request, once more if the connection breaks before the answer: a kept-alive one to a process that is gone
   * breaks on the next use. So every request must bear being received twice.
   * @returns the answer, whatever its status; its body must be read, or left to `discard`
   * @throws PeerError `network` or `timeout`; the signal's reason when it aborts
   */
  async send(
    address: HostPort,
    peerRequest: PeerRequest,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    try {
      return await this.attempt(address, peerRequest, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isBroken(error)) throw toPeerError(error);
    }
    try {
      return await this.attempt(address, peerRequest, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw toPeerError(error);
    }
  }

  async onModuleDestroy(): Promise<void> {
    const all = [...Object.values(this.agents), ...this.outdated];
    await Promise.all(all.map((agent) => agent.destroy()));
  }

  /** Calls under way end as they began, in time; idle connections end now. */
  private async retire(agent: Agent): Promise<void> {
    this.outdated.add(agent);
    const limit = setTimeout(() => void agent.destroy(), OUTDATED_LIMIT_MS);
    limit.unref();
    await agent.close().catch(() => undefined);
    clearTimeout(limit);
    this.outdated.delete(agent);
  }

  private async attempt(
    address: HostPort,
    { lane, method, path, headers, body, headersTimeoutMs, bodyTimeoutMs }: PeerRequest,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const scheme = this.certificates.current ? 'https' : 'http';
    return request(`${scheme}://${formatAddress(address)}${path}`, {
      dispatcher: this.agents[lane],
      method,
      ...(headers ? { headers: headers() } : {}),
      ...(body === undefined ? {} : { body }),
      headersTimeout: headersTimeoutMs,
      bodyTimeout: bodyTimeoutMs,
      signal,
    });
  }
}

/** What undici throws, as what it means for us. */
export function toPeerError(error: unknown): PeerError {
  if (error instanceof PeerError) return error;
  const timeout =
    error instanceof errors.ConnectTimeoutError ||
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError;
  return new PeerError(timeout ? 'timeout' : 'network', `The peer cannot be reached: ${messageOf(error)}`, {
    cause: error,
  });
}

/** Reads away what is left of an answer that nobody wants, so that its connection can be used again. */
export async function discard(body: Dispatcher.ResponseData['body']): Promise<void> {
  await body
    .dump({ limit: DISCARD_LIMIT_BYTES, signal: AbortSignal.timeout(DISCARD_TIMEOUT_MS) })
    .catch(() => undefined);
}

/** The connection was actively refused: nothing listens there. */
export function isRefused(error: unknown): boolean {
  return error instanceof PeerError && errnoOf(error.cause) === 'ECONNREFUSED';
}

/** An established connection broke. */
function isBroken(error: unknown): boolean {
  return error instanceof errors.SocketError || ['ECONNRESET', 'EPIPE'].includes(errnoOf(error) ?? '');
}

/** Connects with the certificates as they are at that moment. */
function connector(certificates: AgentCertificates): buildConnector.connector {
  const plain = buildConnector({ timeout: CONNECT_TIMEOUT_MS });
  let made: { readonly material: TlsMaterial; readonly connect: buildConnector.connector } | undefined;
  return (options, callback) => {
    const material = certificates.current;
    if (!material) {
      plain(options, callback);
      return;
    }
    if (made?.material !== material) made = { material, connect: tlsConnector(material) };
    made.connect(options, callback);
  };
}

/**
 * Whoever has a certificate of the deployment's own CA is one of it: peers are dialled by addresses, which change, and stand
 * in no certificate. Which of them it is, the handshake says.
 */
function tlsConnector({ cert, key, ca }: TlsMaterial): buildConnector.connector {
  return buildConnector({
    timeout: CONNECT_TIMEOUT_MS,
    cert,
    key,
    ca,
    checkServerIdentity: () => undefined,
  });
}

function makeAgents(certificates: AgentCertificates): Readonly<Record<Lane, Agent>> {
  const connect = connector(certificates);
  return { control: makeAgent('control', connect), data: makeAgent('data', connect) };
}

function makeAgent(lane: Lane, connect: buildConnector.connector): Agent {
  return new Agent({
    connections: CONNECTIONS[lane],
    pipelining: 1,
    allowH2: false,
    connect,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: 16_384,
  });
}
