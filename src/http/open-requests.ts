import type { Socket } from 'node:net';

import { HttpException, HttpStatus } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';

import { isAgentRoute, isHealthRoute } from './route-groups.js';

/** Requests of one client that are under way at once: more than any honest client has, and far from what memory bears. */
export const MAX_OPEN_REQUESTS = 128;

/**
 * Bounds what is under way for one client, so that answers which it does not take cannot pile up, each with its memory and
 * some with an open file: one request at a time on a connection, and so many on all of them. Routes that only agents may use
 * have limits of their own, and kubelet's probes may come from where somebody else asks for too much.
 */
export class OpenRequests {
  private readonly busy = new WeakSet<Socket>();
  private readonly byClient = new Map<string, number>();

  /** Express middleware. @throws HttpException 429 */
  readonly limit = (request: Request, response: Response, next: NextFunction): void => {
    const { socket, url } = request;
    if (this.busy.has(socket)) {
      // Nobody pipelines but who means no good: the answers that wait would not even hear that the connection has gone.
      socket.destroy();
      return;
    }
    this.busy.add(socket);
    response.once('close', () => this.busy.delete(socket));
    if (!isAgentRoute(url) && !isHealthRoute(url)) this.count(socket.remoteAddress ?? '', response);
    next();
  };

  get clients(): number {
    return this.byClient.size;
  }

  private count(client: string, response: Response): void {
    const open = this.byClient.get(client) ?? 0;
    if (open >= MAX_OPEN_REQUESTS) {
      response.setHeader('Retry-After', '1');
      throw new HttpException('too many requests under way', HttpStatus.TOO_MANY_REQUESTS);
    }
    this.byClient.set(client, open + 1);
    response.once('close', () => {
      const left = (this.byClient.get(client) ?? 1) - 1;
      if (left > 0) this.byClient.set(client, left);
      else this.byClient.delete(client);
    });
  }
}
