import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

import type { HostPort } from '../../src/config/app-config.js';
import { type RawAnswer, rawRequest } from './raw-http.js';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

/** A man in the middle: hears every request sent to it, and answers as it likes. */
export class ManInTheMiddle {
  private constructor(
    private readonly server: Server,
    readonly seen: readonly SeenRequest[],
    readonly address: HostPort,
  ) {}

  /** @param answer what to answer to a request, given how to pass it on */
  static async start(
    answer: (
      request: SeenRequest,
      relay: (to: HostPort, body?: unknown) => Promise<RawAnswer>,
    ) => Promise<RawAnswer>,
    host = '127.0.0.1',
  ): Promise<ManInTheMiddle> {
    const seen: SeenRequest[] = [];
    const server = createServer((request, response) => {
      const respond = async (): Promise<void> => {
        const sent = await text(request);
        const heard: SeenRequest = {
          method: request.method ?? '',
          path: request.url ?? '',
          headers: request.headers,
          body: sent === '' ? undefined : (JSON.parse(sent) as unknown),
        };
        seen.push(heard);
        const { status, body } = await answer(heard, (to, changed = heard.body) =>
          rawRequest(`http://${to.host}:${to.port}${heard.path}`, {
            method: heard.method as 'GET' | 'POST',
            headers: heard.headers.authorization ? { authorization: heard.headers.authorization } : {},
            ...(changed === undefined ? {} : { body: changed }),
          }),
        );
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(typeof body === 'string' ? body : JSON.stringify(body));
      };
      respond().catch(() => response.destroy());
    });
    server.listen(0, host);
    await once(server, 'listening');
    return new ManInTheMiddle(server, seen, { host, port: (server.address() as AddressInfo).port });
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
