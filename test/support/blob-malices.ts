import { gzipSync } from 'node:zlib';

import {
  blob,
  claimOf,
  endless,
  hashesOf,
  MIB,
  type NamedMalice,
  otherTypes,
  raw,
  spoiled,
  trickle,
} from './malice-kit.js';
import { headersOf, sendRange } from './malicious-peer.js';

/** What a peer can do wrong when it is asked for bytes. `trap` is an address that nobody may come to. */
export function blobMalices(trap: string): Readonly<Record<string, NamedMalice>> {
  return {
    'other bytes of the right length': blob(
      ({ response, bytes, start, end }) => sendRange(response, spoiled(bytes), start, end),
      true,
    ),
    'other bytes, and their hashes': {
      asked: 'blob',
      corrupt: true,
      malice: {
        claim: claimOf((_size, bytes) => ({ chunkHashes: hashesOf(spoiled(bytes)) })),
        blob: ({ response, bytes, start, end }) => sendRange(response, spoiled(bytes), start, end),
      },
    },
    'one other bit at the very end': blob(({ response, bytes, start, end }) => {
      const changed = Buffer.from(bytes);
      changed[bytes.length - 1]! ^= 1;
      sendRange(response, changed, start, end);
    }, true),
    'a manifest of other media types': blob(
      ({ response, image, digest, bytes, start, end }) =>
        sendRange(response, digest === image.root ? otherTypes(bytes) : bytes, start, end),
      true,
    ),
    'other media types in its headers': blob(({ response, bytes, start, end }) => {
      const headers = {
        'content-type': 'application/vnd.docker.distribution.manifest.v1+prettyjws',
        'docker-content-digest': `sha256:${'0'.repeat(64)}`,
      };
      response
        .writeHead(206, { ...headersOf(bytes, start, end), ...headers })
        .end(bytes.subarray(start, end));
    }),
    'another place in Content-Range': blob(({ response, bytes, start, end }) => {
      const headers = {
        ...headersOf(bytes, start, end),
        'content-range': `bytes ${start + 1}-${end}/${bytes.length + 1}`,
      };
      response.writeHead(206, headers).end(bytes.subarray(start, end));
    }),
    'no Content-Range': blob(({ response, bytes, start, end }) => {
      response.writeHead(206, { 'content-length': end - start }).end(bytes.subarray(start, end));
    }),
    'more than Content-Length says': blob((asked) => {
      const { bytes, start, end } = asked;
      raw(
        asked,
        `HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes ${start}-${end - 1}/${bytes.length}\r\n\r\n`,
      );
      asked.request.socket.write(bytes);
    }),
    'a body without an end': blob((asked) => {
      const headers = headersOf(asked.bytes, asked.start, asked.end);
      delete headers['content-length'];
      asked.response.writeHead(206, headers);
      endless(asked);
    }),
    'a whole blob without an end': blob((asked) => {
      asked.response.writeHead(200, {});
      endless(asked);
    }),
    'no body': blob(
      ({ response, bytes, start, end }) =>
        void response.writeHead(206, { ...headersOf(bytes, start, end), 'content-length': 0 }).end(),
    ),
    'half a body': blob(({ response, bytes, start, end }) => {
      response.writeHead(206, headersOf(bytes, start, end));
      response.write(bytes.subarray(start, (start + end) >> 1), () => response.destroy());
    }),
    'a byte now and then': blob((asked) => {
      asked.response.writeHead(206, headersOf(asked.bytes, asked.start, asked.end));
      trickle(asked);
    }),
    'a header now and then': blob((asked) => {
      raw(asked, 'HTTP/1.1 206 Partial Content\r\n');
      const timer = setInterval(() => raw(asked, 'X-Slow: yes\r\n'), 500);
      asked.request.socket.once('close', () => clearInterval(timer));
    }),
    'no answer': blob(() => undefined),
    'headers without an end': blob((asked) => {
      raw(asked, 'HTTP/1.1 206 Partial Content\r\n');
      for (let line = 0; line < 2_000; line += 1) raw(asked, `X-${line}: ${'x'.repeat(1_000)}\r\n`);
    }),
    'one 103 after another': blob((asked) => {
      const timer = setInterval(
        () => raw(asked, 'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n'.repeat(50)),
        5,
      );
      asked.request.socket.once('close', () => clearInterval(timer));
    }),
    'what is no HTTP': blob((asked) => raw(asked, 'SSH-2.0-OpenSSH_9.0\r\n')),
    'a redirect': blob(({ response }) => void response.writeHead(307, { location: `http://${trap}/` }).end()),
    'a challenge': blob(
      ({ response }) =>
        void response.writeHead(401, { 'www-authenticate': `Basic realm="http://${trap}/"` }).end(),
    ),
    '500, for ever': blob(
      ({ response }) => void response.writeHead(500).end('what an upstream says: secret'),
    ),
    '429 for an hour': {
      ...blob(({ response }) => void response.writeHead(429, { 'retry-after': '3600' }).end()),
      mayHoldUp: true,
    },
    'a gzip bomb as the layer': blob(({ response, bytes, start, end }) => {
      const bomb = gzipSync(Buffer.alloc(64 * MIB));
      const sent = Buffer.alloc(end - start, bomb);
      response.writeHead(206, { ...headersOf(bytes, start, end), 'content-encoding': 'gzip' }).end(sent);
    }, true),
    "another blob's bytes": blob(({ response, image, bytes, start, end }) => {
      const other = [...image.blobs.values()].find((candidate) => candidate.length !== bytes.length);
      response.writeHead(206, headersOf(bytes, start, end)).end(Buffer.alloc(end - start, other));
    }, true),
  };
}
