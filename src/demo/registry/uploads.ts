import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { sendEmpty, sendError } from './answers.js';
import type { RegistryContent } from './registry-content.js';

const MAX_OPEN = 64;
/** What comes by PATCH waits in memory; a PUT of the whole blob does not. */
const MAX_PATCHED_BYTES = 256 * 1024 * 1024;

/** Blob uploads: started, filled by any number of PATCHes, ended by a PUT that names the digest. */
export class Uploads {
  private readonly open = new Map<string, Buffer[]>();

  constructor(private readonly content: RegistryContent) {}

  start(response: ServerResponse, repository: string): void {
    if (this.open.size >= MAX_OPEN) {
      sendError(response, 429, 'TOOMANYREQUESTS');
      return;
    }
    const id = randomUUID();
    this.open.set(id, []);
    sendEmpty(response, 202, { ...describe(repository, id, 0), 'docker-upload-uuid': id });
  }

  async append(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    id: string,
  ): Promise<void> {
    const parts = this.open.get(id);
    if (!parts) {
      sendError(response, 404, 'BLOB_UPLOAD_UNKNOWN');
      return;
    }
    let length = parts.reduce((sum, part) => sum + part.length, 0);
    for await (const part of request as AsyncIterable<Buffer>) {
      parts.push(part);
      length += part.length;
      if (length > MAX_PATCHED_BYTES) {
        this.open.delete(id);
        sendError(response, 413, 'SIZE_INVALID');
        return;
      }
    }
    sendEmpty(response, 202, { ...describe(repository, id, length), 'docker-upload-uuid': id });
  }

  async finish(
    request: IncomingMessage,
    response: ServerResponse,
    { repository, id }: { repository: string; id: string },
    wanted: string | null,
  ): Promise<void> {
    const parts = this.open.get(id);
    if (!parts) {
      sendError(response, 404, 'BLOB_UPLOAD_UNKNOWN');
      return;
    }
    this.open.delete(id);
    const { digest } = await this.content.addBlob(repository, joined(parts, request));
    if (digest !== wanted) {
      sendError(response, 400, 'DIGEST_INVALID');
      return;
    }
    sendEmpty(response, 201, {
      location: `/v2/${repository}/blobs/${digest}`,
      'docker-content-digest': digest,
    });
  }
}

function describe(repository: string, id: string, length: number): Record<string, string> {
  return { location: `/v2/${repository}/blobs/uploads/${id}`, range: `0-${Math.max(0, length - 1)}` };
}

async function* joined(parts: readonly Buffer[], rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* parts;
  yield* rest;
}
