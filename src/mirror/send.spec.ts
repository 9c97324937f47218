import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { buffer } from 'node:stream/consumers';

import { TemporaryStore } from '../../test/support/temporary-store.js';
import { digestOf } from '../domain/digest.js';
import type { BlobReader } from '../store/blob-reader.js';
import { closedSignal, sendBlob, type SendOptions, sendStream } from './send.js';

const bytes = randomBytes(8 * 1024 * 1024);
const unhurried: SendOptions = { stallTimeoutMs: 10_000, beforePiece: () => undefined };

describe('Sending a body', () => {
  let files: TemporaryStore;
  let blob: BlobReader;
  let server: Server | undefined;

  beforeEach(async () => {
    files = await TemporaryStore.open();
    await files.store.putBytes(digestOf(bytes), bytes);
    blob = (await files.store.openBlob(digestOf(bytes)))!;
  });
  afterEach(async () => {
    server?.closeAllConnections();
    server?.close();
    await blob.close();
    await files.dispose();
  });

  async function serve(answer: (response: ServerResponse) => Promise<void>): Promise<number> {
    server = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Length': bytes.length });
      void answer(response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  const ways = {
    blob: (response: ServerResponse, options = unhurried) =>
      sendBlob(response, blob, { start: 0, end: blob.size }, options),
    stream: (response: ServerResponse, options = unhurried) =>
      sendStream(response, blob.stream(0, blob.size, new AbortController().signal), options),
  };

  describe.each(['blob', 'stream'] as const)('from a %s', (way) => {
    it('sends every byte, each after it was let go', async () => {
      let asked = 0;
      const port = await serve((response) =>
        ways[way](response, { ...unhurried, beforePiece: (count) => void (asked += count) }),
      );
      const answer = await fetch(`http://127.0.0.1:${port}`);
      expect(digestOf(Buffer.from(await answer.arrayBuffer()))).toBe(digestOf(bytes));
      expect(asked).toBe(bytes.length);
    });

    it('breaks the connection when it fails midway', async () => {
      let asked = 0;
      const port = await serve((response) =>
        ways[way](response, {
          ...unhurried,
          beforePiece: (count) => {
            asked += count;
            if (asked > bytes.length / 2) throw new Error('no more');
          },
        }),
      );
      const answer = await fetch(`http://127.0.0.1:${port}`);
      await expect(answer.arrayBuffer()).rejects.toThrow();
    });

    it('cuts a reader that takes nothing, and tells whoever waits for it', async () => {
      const closed = Promise.withResolvers<AbortSignal>();
      const port = await serve(async (response) => {
        closed.resolve(closedSignal(response));
        await ways[way](response, { ...unhurried, stallTimeoutMs: 200 });
      });
      const socket = connect(port, '127.0.0.1').pause();
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      const signal = await closed.promise;
      await once(signal, 'abort');
      const received = await buffer(socket);
      expect(received.length).toBeLessThan(bytes.length);
    });
  });
});
