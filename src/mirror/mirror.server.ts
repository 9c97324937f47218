import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import { Inject, Injectable, Logger } from '@nestjs/common';

import { errnoOf } from '../common/errno.js';
import { hardenServer } from '../common/harden-server.js';
import { PortInUseError } from '../common/port-in-use-error.js';
import { AppConfig } from '../config/app-config.js';
import type { Digest } from '../domain/digest.js';
import { messageOf } from '../domain/errors.js';
import { parseDistributionPath } from './distribution-path.js';
import { DistributionResponder } from './distribution.responder.js';
import { closedSignal } from './send.js';

/** The first path component of every name we lend to the runtime; what is found under it on our port is ours to clean up. */
export const LOOPBACK_PREFIX = 'preheat';

const HOST = '127.0.0.1';

/** Resolves when the blob is in the store or is not to be waited for. @throws the signal's reason; when it will not come */
export type AwaitBlob = (digest: Digest, signal: AbortSignal) => Promise<void>;

interface Lent {
  readonly missing: Set<Digest>;
  readonly awaitBlob: AwaitBlob | undefined;
  wasAsked: boolean;
}

/** One pull in flight: the runtime may read the store under this name, and nobody else knows the name. */
export interface MirrorSession {
  /** `127.0.0.1:<port>/preheat/<nonce>@<digest>` */
  readonly name: string;
  /** Manifests that the runtime asked for and did not get. */
  readonly missing: ReadonlySet<Digest>;
  /** Whether the runtime has come with this name at all. */
  readonly wasAsked: boolean;
  close(): void;
}

/**
 * The registry that the container runtime of this node pulls from. It listens on 127.0.0.1 alone and, but for the
 * version check, answers only under the 128-bit nonce of a pull in flight: to other users of the host it is empty.
 */
@Injectable()
export class MirrorServer {
  private readonly logger = new Logger(MirrorServer.name);
  private readonly sessions = new Map<string, Lent>();
  private readonly port: number;
  private server: Server | undefined;

  constructor(
    @Inject(AppConfig) config: AppConfig,
    private readonly responder: DistributionResponder,
  ) {
    this.port = config.mirrorPort;
  }

  /** Binds the port. Done before anything touches the store: two agents of one host never get past this line. */
  async listen(): Promise<void> {
    const server = createServer((request, response) => {
      this.answer(request, response).catch((error: unknown) => {
        this.logger.warn({ error: messageOf(error) }, 'a request to the mirror failed');
        response.destroy();
      });
    });
    hardenServer(server);
    server.listen(this.port, HOST);
    try {
      await once(server, 'listening');
    } catch (error) {
      throw errnoOf(error) === 'EADDRINUSE' ? new PortInUseError('MIRROR_PORT', HOST, this.port) : error;
    }
    this.server = server;
  }

  /** Ends every pull in flight. */
  async close(): Promise<void> {
    const { server } = this;
    if (!server) return;
    this.server = undefined;
    this.sessions.clear();
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  /** @param awaitBlob for a pull of an image that is still arriving: awaited before a blob is looked for */
  open(root: Digest, awaitBlob?: AwaitBlob): MirrorSession {
    const nonce = randomBytes(16).toString('hex');
    const lent: Lent = { missing: new Set(), awaitBlob, wasAsked: false };
    this.sessions.set(nonce, lent);
    return {
      name: `127.0.0.1:${this.port}/${LOOPBACK_PREFIX}/${nonce}@${root}`,
      missing: lent.missing,
      get wasAsked() {
        return lent.wasAsked;
      },
      close: () => void this.sessions.delete(nonce),
    };
  }

  /** Whether `name` is that of a pull in flight. */
  isInUse(name: string): boolean {
    const prefix = `127.0.0.1:${this.port}/${LOOPBACK_PREFIX}/`;
    return name.startsWith(prefix) && this.sessions.has(name.slice(prefix.length).split(/[@:]/)[0] ?? '');
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // What is no URL at all, such as `//`, is as little ours as a path we do not know.
    const url = URL.parse(request.url ?? '/', 'http://mirror');
    const path = parseDistributionPath(url?.pathname ?? '');
    const readOnly = request.method === 'GET' || request.method === 'HEAD';
    const lent = path && path.kind !== 'base' ? this.sessionOf(path.name) : undefined;
    if (lent) lent.wasAsked = true;
    if (!path || !readOnly || path.kind === 'tag' || (path.kind !== 'base' && !lent)) {
      this.responder.refuse(request, response, 404, 'NAME_UNKNOWN', 'nothing is served under this name');
      return;
    }
    if (path.kind === 'blob' && !(await isThere(path.digest, response, lent?.awaitBlob))) return;
    await this.responder.respond(request, response, path, {
      limited: false,
      onMissing: (digest) => {
        if (path.kind === 'manifest') lent?.missing.add(digest);
      },
    });
  }

  private sessionOf(name: string): Lent | undefined {
    const [prefix, nonce = '', ...rest] = name.split('/');
    return prefix === LOOPBACK_PREFIX && rest.length === 0 ? this.sessions.get(nonce) : undefined;
  }
}

/** Waits for a blob that is still arriving. When it will not come, whoever asks sees a broken connection. */
async function isThere(
  digest: Digest,
  response: ServerResponse,
  awaitBlob: AwaitBlob | undefined,
): Promise<boolean> {
  if (!awaitBlob) return true;
  try {
    await awaitBlob(digest, closedSignal(response));
    return true;
  } catch {
    response.destroy();
    return false;
  }
}
