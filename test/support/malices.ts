import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

import { chunkCountOf, ChunkMap, chunkRange } from '../../src/domain/chunk-map.js';
import { encodeTarHeader } from '../../src/common/tar/tar-header.js';
import type { ImageBytes } from './image-bytes.js';
import { type Asked, headersOf, type Malice, type Question, sendJson, sendRange } from './malicious-peer.js';

const MIB = 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, 'endless');

export interface NamedMalice {
  readonly malice: Malice;
  /** What it must have been asked for, or it has proven nothing. */
  readonly asked: Question;
  /** Whether wrong bytes of it are hashed, so that it must be counted as corrupt. */
  readonly corrupt?: boolean;
  /**
   * Whether it may fail, with a code, for as long as that peer is there: one that says that it reads the registry, or has
   * everything and is busy, is waited for, since honest ones say so, too.
   */
  readonly mayHoldUp?: boolean;
}

/** The same length, other bytes. */
function spoiled(bytes: Buffer): Buffer {
  return Buffer.from(bytes.map((byte) => byte ^ 0x5a));
}

/** Hashes of all chunks of `bytes`. */
function hashesOf(bytes: Buffer): string[] {
  return Array.from({ length: chunkCountOf(bytes.length) }, (_, index) => {
    const { start, length } = chunkRange(bytes.length, index);
    return createHash('sha256')
      .update(bytes.subarray(start, start + length))
      .digest('hex');
  });
}

/** Writes for as long as somebody reads. */
function endless({ response }: Asked, piece: Buffer = CHUNK): void {
  const more = (): void => {
    while (!response.destroyed && response.write(piece));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
}

/** One byte now and then. */
function trickle({ response, bytes }: Asked): void {
  let at = 0;
  const timer = setInterval(() => void response.write(bytes.subarray(at, ++at)), 500);
  response.once('close', () => clearInterval(timer));
}

/** Ends a head, or none, with bytes that are not HTTP. */
function raw({ request }: Asked, text: string): void {
  request.socket.write(text);
}

function tarHeader(name: string, sizeBytes: number, type = '0', link = ''): Buffer {
  const block = encodeTarHeader(name, sizeBytes);
  block.write(type, 156, 'latin1');
  block.write(link, 157, 'latin1');
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Says that its runtime has the very image, and sends `content` for it; its store has nothing. */
function exporting(content: (asked: Asked) => void): NamedMalice {
  return {
    asked: 'export',
    malice: {
      availability: ({ response }) =>
        sendJson(response, { node: 'x', instance: '0'.repeat(32), platform: 'a/b', protocol: 1, blobs: {} }),
      runtime: ({ response, image }) =>
        sendJson(response, {
          images: [image.reference],
          holdings: { [image.reference]: { manifest: image.root } },
        }),
      export: (asked) => {
        asked.response.writeHead(200, { 'content-type': 'application/x-tar' });
        content(asked);
      },
    },
  };
}

const claimOf =
  (extra: (size: number, bytes: Buffer) => object) =>
  (digest: string, size: number, image: ImageBytes): object => ({
    size,
    complete: true,
    ...extra(size, image.blobs.get(digest) ?? Buffer.alloc(0)),
  });
const allChunks = (size: number): string =>
  Buffer.from(ChunkMap.full(chunkCountOf(size)).toBytes()).toString('base64');
const blob = (malice: Malice['blob'], corrupt = false): NamedMalice => ({
  asked: 'blob',
  corrupt,
  malice: { ...(malice ? { blob: malice } : {}) },
});
const claim = (extra: (size: number, bytes: Buffer) => object): NamedMalice => ({
  asked: 'availability',
  malice: { claim: claimOf(extra) },
});
const answer = (availability: (asked: Asked) => void): NamedMalice => ({
  asked: 'availability',
  malice: { availability },
});

/** Everything that a peer with the key can do wrong, by what it does. `trap` is an address that nobody may come to. */
export function malices(trap: string): Readonly<Record<string, NamedMalice>> {
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
    'hashes of nothing': claim((size) => ({
      chunkHashes: Array.from({ length: chunkCountOf(size) }, (): string => 'f'.repeat(64)),
    })),
    'a size that is one too large': claim((size) => ({ size: size + 1 })),
    'the largest size there is': claim(() => ({ size: Number.MAX_SAFE_INTEGER })),
    'no size': claim(() => ({ size: 0 })),
    'chunks that it has not': {
      asked: 'availability',
      malice: {
        claim: claimOf((size) => ({ complete: false, chunks: allChunks(size) })),
        blob: ({ response }) => void response.writeHead(404).end(),
      },
    },
    'reading the registry for all, for ever': {
      ...claim((size) => ({
        complete: false,
        chunks: Buffer.alloc(Math.ceil(chunkCountOf(size) / 8)).toString('base64'),
        origin: { state: 'reading', key: '0' },
      })),
      mayHoldUp: true,
    },
    'a swarm of strangers': claim(() => ({ swarm: Array.from({ length: 32 }, (_, at) => `stranger-${at}`) })),
    'participants that are a trap': answer(({ response, image }) => {
      const blobs = [...image.blobs].map(([digest, { length: size }]): [string, object] => [
        digest,
        { size, complete: false },
      ]);
      const participants = Array.from({ length: 64 }, () => trap);
      sendJson(response, {
        node: 'x',
        instance: '0'.repeat(32),
        platform: 'a/b',
        protocol: 1,
        blobs: Object.fromEntries(blobs),
        participants,
      });
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
    'availability without an end': answer((asked) => {
      asked.response.writeHead(200, { 'content-type': 'application/json' });
      endless(asked, Buffer.alloc(64 * 1024, ' '));
    }),
    'availability nested deep': answer(
      ({ response }) => void response.writeHead(200).end('['.repeat(5 * MIB)),
    ),
    'availability that is no JSON': answer(({ response }) => void response.writeHead(200).end('<html>')),
    'no availability': answer(() => undefined),
    'an export that climbs out of its directory': exporting(
      ({ response }) => void response.end(tarHeader('../../../../tmp/climbed', 0)),
    ),
    'an export of links to /etc': exporting(
      ({ response }) => void response.end(tarHeader('blobs', 0, '2', '/etc')),
    ),
    'an export of another image': exporting(({ response }) => {
      const content = Buffer.alloc(1024, 'x');
      response.end(
        Buffer.concat([tarHeader(`blobs/sha256/${'a'.repeat(64)}`, 1024), content, Buffer.alloc(1024)]),
      );
    }),
    'an export with other bytes under the right names': exporting(({ response, image }) => {
      for (const [digest, bytes] of image.blobs) {
        response.write(tarHeader(`blobs/sha256/${digest.slice('sha256:'.length)}`, bytes.length));
        response.write(Buffer.concat([spoiled(bytes), Buffer.alloc((512 - (bytes.length % 512)) % 512)]));
      }
      response.end(Buffer.alloc(1024));
    }),
    'an export without an end': exporting((asked) => endless(asked, tarHeader('a', 0))),
    'an export of a million entries': exporting((asked) => {
      const thousand = Buffer.concat(Array.from({ length: 1_000 }, (_, at) => tarHeader(`entry-${at}`, 0)));
      let left = 1_000;
      const more = (): void => {
        while (left > 0 && !asked.response.destroyed) {
          left -= 1;
          if (!asked.response.write(thousand)) {
            asked.response.once('drain', more);
            return;
          }
        }
        asked.response.end(Buffer.alloc(1024));
      };
      more();
    }),
    'an export with a huge PAX header': exporting((asked) => {
      asked.response.write(tarHeader('pax', 8 * 1024 * MIB - 1, 'x'));
      endless(asked, Buffer.alloc(64 * 1024, '9 path=a\n'));
    }),
    'an export whose file has no end': exporting((asked) => {
      asked.response.write(
        tarHeader(`blobs/sha256/${[...asked.image.blobs.keys()].at(-1)?.slice(7) ?? ''}`, 8 * 1024 * MIB - 1),
      );
      endless(asked);
    }),
  };
}
