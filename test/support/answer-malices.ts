import { chunkCountOf } from '../../src/domain/chunk-map.js';
import { allChunks, answer, claim, claimOf, endless, MIB, type NamedMalice } from './malice-kit.js';
import { type Asked, sendJson } from './malicious-peer.js';

/** What a peer can do wrong when it is asked what it has. `trap` is an address that nobody may come to. */
export function answerMalices(trap: string): Readonly<Record<string, NamedMalice>> {
  return {
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
    'availability without an end': answer((asked) => {
      asked.response.writeHead(200, { 'content-type': 'application/json' });
      endless(asked, Buffer.alloc(64 * 1024, ' '));
    }),
    'availability nested deep': answer(
      ({ response }) => void response.writeHead(200).end('['.repeat(5 * MIB)),
    ),
    '16 MiB of hashes that are none': answer((asked) =>
      sendFilled(
        asked,
        (digest, size) => `"${digest}":{"size":${size},"complete":true,"chunkHashes":[`,
        '1,',
      ),
    ),
    '16 MiB of keys': answer((asked) => sendFilled(asked, () => '', '"key":{},')),
    'hashes that are none, as many as there are chunks': claim((size) => ({
      chunkHashes: Array.from({ length: chunkCountOf(size) }, () => 1),
    })),
    'availability that is no JSON': answer(({ response }) => void response.writeHead(200).end('<html>')),
    'no availability': answer(() => undefined),
  };
}

/** 16 MiB: `open` for the image's first blob, and then `piece` for as long as there is room. */
function sendFilled(
  { response, image }: Asked,
  open: (digest: string, size: number) => string,
  piece: string,
): void {
  const [[digest, { length: size }]] = [...image.blobs] as [[string, Buffer]];
  const head = `{"node":"x","instance":"${'0'.repeat(32)}","platform":"a/b","protocol":1,"blobs":{`;
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(Buffer.concat([Buffer.from(head + open(digest, size)), Buffer.alloc(16 * MIB, piece)]));
}
