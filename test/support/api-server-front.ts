import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, connect, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

import { KubeConfig } from '@kubernetes/client-node';

/** A TCP relay in front of the API server, so that it can be gone for some clients and stay for everyone else. */
export class ApiServerFront {
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly port: number,
  ) {}

  /** Rewrites the server's address in the kubeconfig file to that of the relay. */
  static async start(kubeconfig: string): Promise<ApiServerFront> {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    const address = config.getCurrentCluster()?.server ?? '';
    const { hostname, port } = new URL(address);
    const server = createServer((client) => {
      const upstream = connect(Number(port), hostname);
      front.sockets.add(client);
      client.once('close', () => front.sockets.delete(client));
      // Either side's end is the other's, and no news.
      pipeline(client, upstream, client).catch(() => undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const front = new ApiServerFront(server, (server.address() as AddressInfo).port);
    const text = await readFile(kubeconfig, 'utf8');
    await writeFile(kubeconfig, text.replaceAll(address, `https://127.0.0.1:${front.port}`));
    return front;
  }

  /** Connections break, and new ones are refused. */
  async pause(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  async resume(): Promise<void> {
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
  }

  async stop(): Promise<void> {
    if (this.server.listening) await this.pause();
  }
}
