import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';

import { type Digest, isDigest } from '../../domain/digest.js';
import type { AccessControl } from './access-control.js';
import { sendEmpty, sendError, sendJson } from './answers.js';
import type { BlobSender } from './blob-sender.js';
import type { Fault } from './fault-plan.js';
import type { RegistryBehaviour } from './registry-behaviour.js';
import type { RegistryContent } from './registry-content.js';
import { parseRegistryRoute, type RegistryRoute } from './registry-route.js';
import type { StorageLinks } from './storage-links.js';
import { Uploads } from './uploads.js';

/** The distribution API: pull, and as much of push as clients need. */
export class RegistryApi {
  private readonly uploads: Uploads;

  constructor(
    private readonly content: RegistryContent,
    private readonly behaviour: RegistryBehaviour,
    private readonly access: AccessControl,
    private readonly sender: BlobSender,
    private readonly links: StorageLinks,
  ) {
    this.uploads = new Uploads(content);
  }

  /**
   * @param registryUrl where this API answers
   * @param storageUrl where redirected blobs are
   */
  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault | undefined,
    { registryUrl, storageUrl }: { registryUrl: string; storageUrl: string },
  ): Promise<void> {
    const url = new URL(request.url ?? '/', registryUrl);
    const route = parseRegistryRoute(url.pathname);
    if (!route) {
      sendError(response, 404, 'NAME_UNKNOWN');
      return;
    }
    if (route.kind === 'token') return this.access.serveToken(request, response, url);
    const repository = route.kind === 'base' ? undefined : route.repository;
    if (!this.access.admits(request, response, repository, registryUrl)) return;
    if (request.method === 'GET' || request.method === 'HEAD') {
      return this.read(request, response, route, fault, storageUrl);
    }
    return this.write(request, response, route, url);
  }

  private async read(
    request: IncomingMessage,
    response: ServerResponse,
    route: Exclude<RegistryRoute, { kind: 'token' }>,
    fault: Fault | undefined,
    storageUrl: string,
  ): Promise<void> {
    switch (route.kind) {
      case 'base': {
        sendJson(response, 200, {});
        return;
      }
      case 'tags': {
        sendJson(response, 200, {
          name: route.repository,
          tags: this.content.tags(route.repository),
        });
        return;
      }
      case 'manifest':
        return this.readManifest(request, response, route, fault);
      case 'blob':
        return this.readBlob(request, response, route, fault, storageUrl);
      case 'upload-start':
      case 'upload': {
        sendError(response, 405, 'UNSUPPORTED');
        return;
      }
    }
  }

  private async readManifest(
    request: IncomingMessage,
    response: ServerResponse,
    { repository, reference }: { repository: string; reference: string },
    fault: Fault | undefined,
  ): Promise<void> {
    const found = this.content.manifest(repository, reference);
    if (!found) {
      sendError(response, 404, 'MANIFEST_UNKNOWN');
      return;
    }
    const headers = {
      'content-type': found.mediaType,
      ...(this.behaviour.tellsDigest ? { 'docker-content-digest': found.digest } : {}),
    };
    await this.sender.send(request, response, found.digest, { headers, fault, counts: false });
  }

  private async readBlob(
    request: IncomingMessage,
    response: ServerResponse,
    { repository, digest }: { repository: string; digest: Digest },
    fault: Fault | undefined,
    storageUrl: string,
  ): Promise<void> {
    const { redirectExpiryMs, redirectTo } = this.behaviour;
    if (!this.content.hasBlob(repository, digest)) {
      sendError(response, 404, 'BLOB_UNKNOWN');
    } else if (redirectTo !== undefined) {
      sendEmpty(response, 307, { location: redirectTo });
    } else if (redirectExpiryMs > 0) {
      const location = `${storageUrl}${this.links.create(digest, redirectExpiryMs)}`;
      sendEmpty(response, 307, { location });
    } else {
      const headers = {
        'content-type': 'application/octet-stream',
        'docker-content-digest': digest,
        'accept-ranges': 'bytes',
      };
      await this.sender.send(request, response, digest, { headers, fault, counts: true });
    }
  }

  private async write(
    request: IncomingMessage,
    response: ServerResponse,
    route: RegistryRoute,
    url: URL,
  ): Promise<void> {
    const { method } = request;
    if (route.kind === 'manifest' && method === 'PUT') {
      const bytes = await buffer(request);
      const mediaType = request.headers['content-type'] ?? '';
      const { digest } = await this.content.addManifest(route.repository, route.reference, bytes, mediaType);
      if (isDigest(route.reference) && route.reference !== digest) {
        sendError(response, 400, 'DIGEST_INVALID');
        return;
      }
      sendEmpty(response, 201, {
        location: `/v2/${route.repository}/manifests/${digest}`,
        'docker-content-digest': digest,
      });
      return;
    }
    if (route.kind === 'upload-start' && method === 'POST') {
      this.uploads.start(response, route.repository);
      return;
    }
    if (route.kind === 'upload' && method === 'PATCH') {
      return this.uploads.append(request, response, route.repository, route.id);
    }
    if (route.kind === 'upload' && method === 'PUT') {
      return this.uploads.finish(request, response, route, url.searchParams.get('digest'));
    }
    sendError(response, 405, 'UNSUPPORTED');
  }
}
