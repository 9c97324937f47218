import { createHash } from 'node:crypto';

import { encodeTarHeader } from '../../src/common/tar/tar-header.js';
import { chunkCountOf, ChunkMap, chunkRange } from '../../src/domain/chunk-map.js';
import type { ImageBytes } from './image-bytes.js';
import { type Asked, type Malice, type Question, sendJson } from './malicious-peer.js';

export const MIB = 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, 'endless');

export interface NamedMalice {
  readonly malice: Malice;
  /** What it must have been asked for, or it has proven nothing. */
  readonly asked: Question;
  /** Whether wrong bytes of it are hashed, so that it must be counted as corrupt, and not be asked for that image again. */
  readonly corrupt?: boolean;
  /**
   * Whether it may fail, with a code, for as long as that peer is there: one that says that it reads the registry, or has
   * everything and is busy, is waited for, since honest ones say so, too.
   */
  readonly mayHoldUp?: boolean;
}

/** The same length, other bytes. */
export function spoiled(bytes: Buffer): Buffer {
  return Buffer.from(bytes.map((byte) => byte ^ 0x5a));
}

/** The manifest as it is, but for what it says its layers are packed with; as long as it was. */
export function otherTypes(manifest: Buffer): Buffer {
  return Buffer.from(manifest.toString('latin1').replaceAll('.tar+gzip', '.tar+zstd'), 'latin1');
}

/** Hashes of all chunks of `bytes`. */
export function hashesOf(bytes: Buffer): string[] {
  return Array.from({ length: chunkCountOf(bytes.length) }, (_, index) => {
    const { start, length } = chunkRange(bytes.length, index);
    return createHash('sha256')
      .update(bytes.subarray(start, start + length))
      .digest('hex');
  });
}

/** Writes for as long as somebody reads. */
export function endless({ response }: Asked, piece: Buffer = CHUNK): void {
  const more = (): void => {
    while (!response.destroyed && response.write(piece));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
}

/** One byte now and then. */
export function trickle({ response, bytes }: Asked): void {
  let at = 0;
  const timer = setInterval(() => void response.write(bytes.subarray(at, ++at)), 500);
  response.once('close', () => clearInterval(timer));
}

/** Ends a head, or none, with bytes that are not HTTP. */
export function raw({ request }: Asked, text: string): void {
  request.socket.write(text);
}

export function tarHeader(name: string, sizeBytes: number, type = '0', link = ''): Buffer {
  const block = encodeTarHeader(name, sizeBytes);
  block.write(type, 156, 'latin1');
  block.write(link, 157, 'latin1');
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** An entry with its header and its padding. */
export function tarFile(name: string, bytes: Buffer): Buffer {
  return Buffer.concat([
    tarHeader(name, bytes.length),
    bytes,
    Buffer.alloc((512 - (bytes.length % 512)) % 512),
  ]);
}

/** Says that its runtime has the very image, and sends `content` for it; its store has nothing. */
export function exporting(content: (asked: Asked) => void, corrupt = false): NamedMalice {
  return {
    asked: 'export',
    corrupt,
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

export const claimOf =
  (extra: (size: number, bytes: Buffer) => object) =>
  (digest: string, size: number, image: ImageBytes): object => ({
    size,
    complete: true,
    ...extra(size, image.blobs.get(digest) ?? Buffer.alloc(0)),
  });
export const allChunks = (size: number): string =>
  Buffer.from(ChunkMap.full(chunkCountOf(size)).toBytes()).toString('base64');
export const blob = (malice: Malice['blob'], corrupt = false): NamedMalice => ({
  asked: 'blob',
  corrupt,
  malice: { ...(malice ? { blob: malice } : {}) },
});
export const claim = (extra: (size: number, bytes: Buffer) => object): NamedMalice => ({
  asked: 'availability',
  malice: { claim: claimOf(extra) },
});
export const answer = (availability: (asked: Asked) => void): NamedMalice => ({
  asked: 'availability',
  malice: { availability },
});
