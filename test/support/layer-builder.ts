import { createHash, type Hash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';

import { pack } from 'tar-stream';

import { type Digest, hexOf, isDigest } from '../../src/domain/digest.js';
import { generatedContent } from './generated-content.js';

export type Compression = 'gzip' | 'zstd' | 'none';

export interface LayerSpec {
  /** Two layers of one specification are the same layer, in whatever image. */
  readonly seed: string;
  /** Of the content, before compression. */
  readonly sizeBytes: number;
  /** 0 … 1; 0.5 by default. */
  readonly compressible?: number;
  /** gzip by default. */
  readonly compression?: Compression;
  /** Files the content is spread over; 4 by default. */
  readonly files?: number;
}

export interface BuiltLayer {
  readonly digest: Digest;
  readonly size: number;
  /** Of the uncompressed tar. */
  readonly diffId: Digest;
  readonly diffSize: number;
  readonly compression: Compression;
}

/** Writes one layer into `directory`, named by the hex of its digest. Nothing is held in memory. */
export async function buildLayer(directory: string, spec: LayerSpec): Promise<BuiltLayer> {
  const { compression = 'gzip' } = spec;
  const temporary = join(directory, `.${randomBytes(8).toString('hex')}`);
  const plain = new Meter();
  const compressed = new Meter();
  const tar = pack();
  await Promise.all([
    pipeline(
      tar as unknown as NodeJS.ReadableStream,
      plain,
      compressor(compression),
      compressed,
      createWriteStream(temporary),
    ),
    fill(tar, spec),
  ]);
  await rename(temporary, join(directory, hexOf(compressed.digest)));
  return {
    digest: compressed.digest,
    size: compressed.bytes,
    diffId: plain.digest,
    diffSize: plain.bytes,
    compression,
  };
}

async function fill(
  tar: ReturnType<typeof pack>,
  { seed, sizeBytes, compressible = 0.5, files = 4 }: LayerSpec,
): Promise<void> {
  const mtime = new Date(0);
  const folder = `data/${seed.replaceAll(/[^\w.-]/g, '_')}`;
  for (let index = 0; index < files; index++) {
    const size = Math.floor(sizeBytes / files) + (index === 0 ? sizeBytes % files : 0);
    const entry = tar.entry({ name: `${folder}/${index}`, size, mode: 0o644, mtime });
    await pipeline(Readable.from(generatedContent(`${seed}/${index}`, size, compressible)), entry);
  }
  tar.finalize();
}

function compressor(compression: Compression): Transform {
  if (compression === 'gzip') return createGzip({ level: 1 });
  return compression === 'zstd' ? createZstdCompress() : new PassThrough();
}

/** Counts and hashes what passes. */
class Meter extends PassThrough {
  bytes = 0;
  private readonly hash: Hash = createHash('sha256');
  private result: Digest | undefined;

  override _transform(
    chunk: Buffer,
    _encoding: BufferEncoding,
    callback: (error: null, data: Buffer) => void,
  ): void {
    this.bytes += chunk.length;
    this.hash.update(chunk);
    callback(null, chunk);
  }

  get digest(): Digest {
    if (this.result) return this.result;
    const text = `sha256:${this.hash.digest('hex')}`;
    if (!isDigest(text)) throw new Error(`not a digest: ${text}`);
    return (this.result = text);
  }
}
