import { once } from 'node:events';
import { createServer, request as send, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { pipeline } from 'node:stream';

/** An HTTP proxy on loopback: forwards and tunnels whatever name is asked for to 127.0.0.1 at the port asked for, and keeps a list. */
export class RecordingProxy {
  /** `GET registry.test:5000`, `CONNECT registry.test:5001` */
  readonly seen: string[] = [];
  /** Of `Proxy-Authorization`. */
  readonly credentials: (string | undefined)[] = [];
  private readonly server: Server;

  private constructor() {
    this.server = createServer((incoming, response) => {
      const url = new URL(incoming.url ?? '');
      this.seen.push(`${incoming.method ?? ''} ${url.host}`);
      this.credentials.push(incoming.headers['proxy-authorization']);
      const { method, headers } = incoming;
      const options = { method, headers, port: url.port, path: url.pathname, host: '127.0.0.1' };
      const outgoing = send(options, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        pipeline(answer, response, () => undefined);
      });
      pipeline(incoming, outgoing, () => undefined);
    });
    this.server.on('connect', (incoming, socket) => {
      this.seen.push(`CONNECT ${incoming.url ?? ''}`);
      this.credentials.push(incoming.headers['proxy-authorization']);
      const target = connect(Number(incoming.url?.split(':')[1]), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        pipeline(socket, target, socket, () => undefined);
      });
      target.on('error', () => socket.destroy());
    });
  }

  static async start(): Promise<RecordingProxy> {
    const proxy = new RecordingProxy();
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }
}
