import type { Socket } from 'node:net';

import { HttpException, HttpStatus } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

import { isAgentRoute } from './route-groups.js';

/** Requests of one client that are under way at once: more than any honest client has, and far from what memory bears. */
export const MAX_OPEN_REQUESTS = 128;

/**
 * Refuses what one client asks for while so many of its answers are still under way. One that asks on and on and reads
 * nothing would have answers pile up, each with its memory and some with an open file. Routes that only agents may use have
 * limits of their own.
 */
export class OpenRequests {
  private readonly byClient = new Map<string, number>();
  private readonly bySocket = new WeakMap<Socket, number>();

  /** Express middleware. @throws HttpException 429 */
  readonly limit = (request: Request, response: Response, next: NextFunction): void => {
    if (!isAgentRoute(request.url)) this.begin(request.socket, response);
    next();
  };

  get clients(): number {
    return this.byClient.size;
  }

  private begin(socket: Socket, response: Response): void {
    const client = socket.remoteAddress ?? '';
    if ((this.byClient.get(client) ?? 0) >= MAX_OPEN_REQUESTS) {
      response.setHeader('Retry-After', '1');
      throw new HttpException('too many requests under way', HttpStatus.TOO_MANY_REQUESTS);
    }
    // An answer that waits for the one before it does not hear that its connection has gone.
    if (!this.bySocket.has(socket))
      socket.once('close', () => {
        this.add(client, -(this.bySocket.get(socket) ?? 0));
        this.bySocket.delete(socket);
      });
    this.bySocket.set(socket, (this.bySocket.get(socket) ?? 0) + 1);
    this.add(client, 1);
    response.once('close', () => {
      const open = this.bySocket.get(socket);
      if (open === undefined) return;
      this.bySocket.set(socket, open - 1);
      this.add(client, -1);
    });
  }

  private add(client: string, count: number): void {
    const open = (this.byClient.get(client) ?? 0) + count;
    if (open > 0) this.byClient.set(client, open);
    else this.byClient.delete(client);
  }
}
