import { createReadStream } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { type Digest, hexOf, isDigest } from '../../src/domain/digest.js';
import { isManifestType } from '../../src/domain/manifest.js';
import type { BlobFile, BuiltImage } from './image-builder.js';

interface StoredBlob extends BlobFile {
  readonly path: string;
}

/** What goes wrong with a blob. */
export type MirrorFault = 'missing' | 'corrupt' | 'breaks-off' | 'hangs';

const PATH = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)$/;

/** A small read-only registry on loopback, without Range, that can be told to misbehave. */
export class TestMirror {
  /** `GET repository digest`, in order of arrival. */
  readonly requests: string[] = [];
  readonly faults = new Map<Digest, MirrorFault>();
  /** `user:password`; asked of everyone who names a repository under `private/`. */
  credentials = '';
  private readonly blobs = new Map<Digest, StoredBlob>();
  private readonly server: Server;

  private constructor() {
    this.server = createServer((request, response) => {
      this.answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<TestMirror> {
    const mirror = new TestMirror();
    await new Promise<void>((resolve) => mirror.server.listen(0, '127.0.0.1', resolve));
    return mirror;
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('it does not listen');
    return address.port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  add(image: BuiltImage): void {
    for (const blob of image.blobs) {
      this.blobs.set(blob.digest, { ...blob, path: join(image.directory, hexOf(blob.digest)) });
    }
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  private async answer({ method, url, headers }: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, repository = '', kind = '', name = ''] = PATH.exec(url ?? '') ?? [];
    if (url === '/v2/' && this.credentials === '') return void response.end('{}');
    const expected = `Basic ${Buffer.from(this.credentials).toString('base64')}`;
    if ((url === '/v2/' || repository.startsWith('private/')) && headers.authorization !== expected) {
      return void response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
    }
    if (url === '/v2/') return void response.end('{}');
    this.requests.push(`${method ?? ''} ${repository} ${name}`);
    const blob = isDigest(name) ? this.blobs.get(name) : undefined;
    const fault = blob && this.faults.get(blob.digest);
    if (!blob || fault === 'missing' || isManifestType(blob.mediaType) !== (kind === 'manifests')) {
      return void response.writeHead(404).end();
    }
    response.writeHead(200, {
      'content-type': kind === 'manifests' ? blob.mediaType : 'application/octet-stream',
      'content-length': blob.size,
      'docker-content-digest': blob.digest,
    });
    if (method === 'HEAD') response.end();
    else await this.send(blob, fault, response);
  }

  private async send(
    { path, size }: StoredBlob,
    fault: MirrorFault | undefined,
    response: ServerResponse,
  ): Promise<void> {
    if (fault === undefined) return pipeline(createReadStream(path), response);
    const half = Math.floor(size / 2);
    await pipeline(createReadStream(path, { end: half - 1 }), response, { end: false });
    if (fault === 'corrupt') response.end(Buffer.alloc(size - half, 1));
    else if (fault === 'breaks-off') response.destroy();
    else await new Promise((resolve) => response.once('close', resolve));
  }
}
