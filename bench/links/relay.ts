import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';

/**
 * `node relay.js <address> <port> <file> <url> …`: once a line comes on its standard input, downloads all urls at once,
 * each whole into a file of its own, says so, and sends the first of them to whoever asks for it. Who asks earlier waits.
 */
async function main(): Promise<void> {
  const [address, port, file, ...urls] = process.argv.slice(2);
  if (address === undefined || file === undefined) throw new Error('address, port, file, url');
  const whole = Promise.withResolvers<undefined>();
  const server = createServer((_request, response) => {
    void whole.promise
      .then(() => pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), response))
      .catch(() => response.destroy());
  });
  server.listen(Number(port), address);
  await once(server, 'listening');
  console.log('listening');
  await once(process.stdin, 'data');
  await Promise.all(urls.map((url, index) => download(url, index === 0 ? file : `${file}-${index}`)));
  console.log('whole');
  whole.resolve(undefined);
}

async function download(url: string, file: string): Promise<void> {
  const [response] = (await once(get(url), 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`${url}: HTTP ${response.statusCode ?? 0}`);
  await pipeline(response, createWriteStream(file, { highWaterMark: 1024 * 1024 }));
}

await main();
