import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

interface Connection {
  /** Below TLS. */
  readonly socket: Socket;
  /** Undefined before its first request, perhaps still in its handshake. */
  secured?: TLSSocket;
  readonly answers: Set<ServerResponse>;
  isOutdated: boolean;
}

/**
 * The connections that an HTTPS server has accepted. A server's certificates are looked at in a handshake alone, so a
 * connection that is kept alive outlives them: whoever changes them has to end it.
 */
export class AcceptedConnections {
  private readonly open = new Map<string, Connection>();

  constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => this.add(socket));
    server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
      this.answering(request.socket as TLSSocket, response);
    });
  }

  /**
   * Ends those that are open now: idle ones, and handshakes, at once, busy ones with the answers under way. What is asked
   * on them from now on is asked without a certificate.
   * @param limitMs a longer answer is cut
   */
  endAll(limitMs: number): void {
    const outdated = [...this.open.values()];
    for (const connection of outdated) {
      connection.isOutdated = true;
      if (connection.secured) connection.secured.authorized = false;
      for (const answer of connection.answers) announceEnd(answer);
      endWhenIdle(connection);
    }
    const timer = setTimeout(() => {
      for (const { socket } of outdated) socket.destroy();
    }, limitMs);
    timer.unref();
    this.server.once('close', () => clearTimeout(timer));
  }

  private add(socket: Socket): void {
    const client = clientOf(socket);
    const connection = { socket, answers: new Set<ServerResponse>(), isOutdated: false };
    this.open.set(client, connection);
    socket.once('close', () => {
      if (this.open.get(client) === connection) this.open.delete(client);
    });
  }

  private answering(secured: TLSSocket, answer: ServerResponse): void {
    const connection = this.open.get(clientOf(secured));
    if (!connection) return;
    connection.secured = secured;
    connection.answers.add(answer);
    if (connection.isOutdated) announceEnd(answer);
    answer.once('close', () => {
      connection.answers.delete(answer);
      if (connection.isOutdated) endWhenIdle(connection);
    });
  }
}

/** Two sockets stand for one connection, and nothing public leads from one to the other but who is at the other end. */
function clientOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function announceEnd(answer: ServerResponse): void {
  if (!answer.headersSent) answer.setHeader('Connection', 'close');
}

function endWhenIdle({ socket, secured, answers }: Connection): void {
  if (answers.size > 0) return;
  // With what was answered last on its way out.
  if (secured) secured.destroySoon();
  else socket.destroy();
}
