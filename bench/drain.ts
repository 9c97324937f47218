import { connect } from 'node:net';

const BUFFER_BYTES = 1024 * 1024;
const HEAD_END = '\r\n\r\n';

/**
 * Asks for `path` and throws away what comes, at next to no cost of its own: the bytes are read into one buffer.
 * @throws when the answer is no 2xx, or the connection breaks before `expected` bytes came
 */
export async function drain(
  port: number,
  path: string,
  expected: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  let head = '';
  let body = 0;
  const take = (count: number, buffer: Uint8Array): boolean => {
    if (head.includes(HEAD_END)) {
      body += count;
    } else {
      const before = head.length;
      head += Buffer.from(buffer.buffer, buffer.byteOffset, count).toString('latin1');
      const end = head.indexOf(HEAD_END);
      if (end < 0) return true;
      if (!/^HTTP\/1\.1 2\d\d /.test(head)) reject(new Error(`answer: ${head.slice(0, 300)}`));
      body = before + count - end - HEAD_END.length;
    }
    if (body >= expected) socket.destroy();
    return true;
  };
  const socket = connect({
    port,
    host: '127.0.0.1',
    onread: { buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES), callback: take },
  });
  const lines = Object.entries({ Host: `127.0.0.1:${port}`, ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}${HEAD_END}`);
  socket.on('error', reject);
  socket.on('close', () => {
    if (body >= expected) resolve(undefined);
    else reject(new Error(`${body} of ${expected} bytes came`));
  });
  await promise;
}
