import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface SocketAnswer {
  /** 0 when the connection was closed without an answer. */
  readonly status: number;
  readonly head: string;
  readonly body: Buffer;
}

/** No answer of an agent to a stray request takes longer; one that does hangs. */
const LIMIT_MS = 10_000;
const HEAD_END = '\r\n\r\n';

/** Sends bytes over a connection of its own, as they stand, and reads what comes back until the other side closes. */
export async function sendBytes(port: number, bytes: Uint8Array | string): Promise<SocketAnswer> {
  const socket = await dial(port);
  try {
    socket.write(bytes);
    return parseAnswer(await readAll(socket));
  } finally {
    socket.destroy();
  }
}

/** Sends a beginning, and goes away without waiting for anything. */
export async function sendAndLeave(port: number, bytes: Uint8Array | string): Promise<void> {
  const socket = await dial(port);
  await new Promise((resolve) => socket.write(bytes, resolve));
  socket.destroy();
}

export async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  // Whoever writes to a socket that was closed meanwhile gets an error; what was answered before still counts.
  socket.on('error', () => undefined);
  await once(socket, 'connect', { signal: AbortSignal.timeout(LIMIT_MS) });
  return socket;
}

async function readAll(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  const limit = setTimeout(() => socket.destroy(new Error('no answer in time')), LIMIT_MS);
  try {
    for await (const part of socket as AsyncIterable<Buffer>) parts.push(part);
  } catch (error) {
    if (error instanceof Error && error.message === 'no answer in time') throw error;
  } finally {
    clearTimeout(limit);
  }
  return Buffer.concat(parts);
}

function parseAnswer(bytes: Buffer): SocketAnswer {
  const end = bytes.indexOf(HEAD_END);
  const head = bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0);
  return { status, head, body: bytes.subarray(end === -1 ? bytes.length : end + HEAD_END.length) };
}
