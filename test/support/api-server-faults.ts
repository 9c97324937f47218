import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request } from 'undici';

/** What becomes of requests on their way to the API server. */
export type ApiFault =
  | { readonly kind: 'none' }
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** Answered with a status instead of being passed on; `of`: only these methods. */
  | { readonly kind: 'status'; readonly status: number; readonly of: readonly string[] }
  | { readonly kind: 'cut' };

/** Stands before a real API server and lets requests fail as that one would not do on demand. */
export class ApiServerFaults {
  fault: ApiFault = { kind: 'none' };
  /** Requests that something happened to. */
  spoiled = 0;
  private readonly upstream = new Agent({ connect: { rejectUnauthorized: false } });

  private constructor(
    private readonly server: Server,
    private readonly origin: string,
  ) {
    server.on('request', (asked, response) => {
      this.answer(asked, response).catch(() => response.destroy());
    });
  }

  /** Rewrites the server's address in the kubeconfig file to its own. */
  static async start(kubeconfig: string): Promise<ApiServerFaults> {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    const origin = config.getCurrentCluster()?.server ?? '';
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const text = await readFile(kubeconfig, 'utf8');
    await writeFile(kubeconfig, text.replaceAll(origin, `http://127.0.0.1:${port}`));
    return new ApiServerFaults(server, origin);
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
    await this.upstream.close();
  }

  private async answer(asked: IncomingMessage, response: ServerResponse): Promise<void> {
    const { fault } = this;
    const { method = 'GET', url = '/', headers } = asked;
    const body = await buffer(asked);
    if (fault.kind === 'cut' || (fault.kind === 'status' && fault.of.includes(method))) {
      this.spoiled += 1;
      if (fault.kind === 'cut') response.destroy();
      else
        response.writeHead(fault.status, { 'content-type': 'application/json' }).end(statusOf(fault.status));
      return;
    }
    if (fault.kind === 'slow') {
      this.spoiled += 1;
      await delay(fault.delayMs);
    }
    const passed = { ...headers };
    delete passed.host;
    delete passed.connection;
    const answer = await request(`${this.origin}${url}`, {
      method: method as 'GET',
      headers: passed,
      dispatcher: this.upstream,
      ...(body.length > 0 ? { body } : {}),
    });
    const type = answer.headers['content-type'];
    response.writeHead(answer.statusCode, typeof type === 'string' ? { 'content-type': type } : {});
    response.end(Buffer.from(await answer.body.arrayBuffer()));
  }
}

function statusOf(code: number): string {
  return JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code,
    message: 'a test says so',
  });
}
