import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';

/** Listens on every address of this machine and counts who comes: nobody may. */
export class Trap {
  visits = 0;

  private constructor(private readonly server: Server) {
    server.on('connection', (socket) => {
      this.visits += 1;
      socket.destroy();
    });
  }

  static async start(): Promise<Trap> {
    const server = createServer();
    server.listen(0, '::');
    await once(server, 'listening');
    return new Trap(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.server.close();
    await once(this.server, 'close');
  }
}
