import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Between two looks at the connections, milliseconds. */
const LOOK_MS = 5_000;

interface Progress {
  flushedBytes: number;
  sinceMs: number;
}

/**
 * Cuts connections whose client has taken nothing of what is waiting for it for `limitMs`: what is not taken keeps memory
 * and open files. The time-outs of Node's server are for requests alone. A write counts as taken once all of it is.
 * @param nowMs a monotonic clock
 */
export function cutSlowReaders(server: Server, limitMs: number, nowMs: () => number): void {
  const connections = new Map<Socket, Progress>();
  const watch = (socket: Socket): void => {
    connections.set(socket, { flushedBytes: 0, sinceMs: nowMs() });
    socket.once('close', () => connections.delete(socket));
  };
  // The socket that bytes are counted on: with TLS, the one inside.
  server.on('connection', watch);
  server.on('secureConnection', watch);
  const looking = setInterval(
    () => {
      for (const [socket, progress] of connections) {
        const flushedBytes = socket.bytesWritten - socket.writableLength;
        if (socket.writableLength === 0 || flushedBytes !== progress.flushedBytes) {
          progress.flushedBytes = flushedBytes;
          progress.sinceMs = nowMs();
        } else if (nowMs() - progress.sinceMs >= limitMs) socket.destroy();
      }
    },
    Math.min(LOOK_MS, limitMs),
  );
  looking.unref();
  server.once('close', () => clearInterval(looking));
}
