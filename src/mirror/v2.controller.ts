import type { ServerResponse } from 'node:http';

import { All, Controller, Inject, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiExcludeController, ApiTags } from '@nestjs/swagger';

import type { Request } from 'express';

import { Access } from '../common/access.decorator.js';
import { callerOf } from '../peers/access/caller.js';
import { type DistributionPath, parseDistributionPath } from './distribution-path.js';
import { DistributionResponder } from './distribution.responder.js';
import { TagResolver } from './tag-resolver.js';

/** The read-only OCI distribution API on `PORT`, for peers and for tools that hold the API token. */
@ApiTags('distribution')
@ApiExcludeController()
@ApiBearerAuth()
@Controller('v2')
export class V2Controller {
  constructor(
    private readonly responder: DistributionResponder,
    @Inject(TagResolver) private readonly tags: TagResolver,
  ) {}

  @Access('peer-or-token')
  @All(['', '*path'])
  async read(@Req() request: Request, @Res() response: ServerResponse): Promise<void> {
    // A request line may name any URL (RFC 9112, 3.2.2), and text that is none.
    const url = URL.parse(request.url, 'http://agent');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      this.responder.refuse(request, response, 405, 'UNSUPPORTED', 'this registry is read-only');
      return;
    }
    const path = parseDistributionPath(url?.pathname ?? '');
    const target =
      path?.kind === 'tag' ? await this.resolve(path, url?.searchParams.get('ns') ?? undefined) : path;
    if (!target) {
      this.responder.refuse(request, response, 404, 'MANIFEST_UNKNOWN', 'nothing is served under this path');
      return;
    }
    await this.responder.respond(request, response, target, { limited: true, caller: callerOf(request) });
  }

  /** The registry is `ns`, containerd's way of naming the one that a mirror stands for. */
  private async resolve(
    { name, tag }: Extract<DistributionPath, { kind: 'tag' }>,
    registry: string | undefined,
  ): Promise<Extract<DistributionPath, { kind: 'manifest' }> | undefined> {
    const digest = await this.tags.digestOf({ registry, repository: name, tag });
    return digest && { kind: 'manifest', name, digest };
  }
}
