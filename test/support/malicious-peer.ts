import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

import { IDENTITY_HEADERS, identityHeaders, type PeerIdentity } from '../../src/peers/peer-identity.js';
import { proofOf } from '../../src/peers/session/handshake-proof.js';
import { type Hello, PROOF_PATH, SESSION_PATH } from '../../src/peers/session/session-wire.js';
import { AVAILABILITY_PATH } from '../../src/peers/wire/availability-wire.js';
import { RUNTIME_PATH } from '../../src/peers/wire/runtime-wire.js';
import type { ImageBytes } from './image-bytes.js';

/** What a malicious peer is asked for, apart from who it is. */
export type Question = 'availability' | 'runtime' | 'blob' | 'export';

export interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The image that all of this is about. */
  readonly image: ImageBytes;
  /** Of a blob: its digest, its bytes, and what of them is asked for. */
  readonly digest: string;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** How it answers: what is not here, it answers as an honest peer would that has everything. */
export interface Malice {
  /** Of what is said of each blob. */
  readonly claim?: (digest: string, size: number, image: ImageBytes) => object;
  readonly availability?: (asked: Asked) => void;
  readonly blob?: (asked: Asked) => void;
  readonly runtime?: (asked: Asked) => void;
  readonly export?: (asked: Asked) => void;
  readonly identity?: Partial<PeerIdentity>;
}

/**
 * An agent that was taken over: it has the key, speaks the protocol, and answers as `malice` says, once there is an image
 * that it shall spoil. Until then it has nothing.
 */
export class MaliciousPeer {
  readonly asked = new Map<Question, number>();
  /** How often each node has asked anything about its image. */
  readonly askedBy = new Map<string, number>();
  image: ImageBytes | undefined;
  private readonly identity: PeerIdentity;

  private constructor(
    readonly name: string,
    private readonly key: Buffer,
    private readonly malice: Malice,
    private readonly server: Server,
  ) {
    const instance = randomBytes(16).toString('hex');
    this.identity = { node: name, instance, platform: 'linux/amd64', protocol: 1, ...malice.identity };
    server.on('request', (request, response) => {
      this.answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(name: string, key: Buffer, malice: Malice): Promise<MaliciousPeer> {
    const server = createServer({ requestTimeout: 0 });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new MaliciousPeer(name, key, malice, server);
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://peer');
    const body = request.method === 'POST' ? await text(request) : '';
    for (const [name, value] of Object.entries(identityHeaders(this.identity)))
      response.setHeader(name, value);
    if (url.pathname === SESSION_PATH) sendJson(response, this.hello(JSON.parse(body) as Hello));
    else if (url.pathname === PROOF_PATH) response.writeHead(204).end();
    else if (url.pathname === AVAILABILITY_PATH) this.sayAvailability(request, response, body);
    else if (url.pathname === RUNTIME_PATH)
      this.sayOfImage('runtime', (JSON.parse(body) as { images: string[] }).images, request, response, () =>
        sendJson(response, { images: [] }),
      );
    else if (url.pathname === '/images/download')
      this.sayOfImage('export', url.searchParams.getAll('image'), request, response, () =>
        response.writeHead(404).end(),
      );
    else this.sayBlob(request, response, url.pathname);
  }

  private hello(hello: Hello): object {
    const calleeNonce = randomBytes(32).toString('base64url');
    const handshake = {
      caller: { node: hello.node, instance: hello.instance },
      callerNonce: hello.nonce,
      callee: this.identity,
      calleeNonce,
      address: hello.address,
    };
    return { ...this.identity, nonce: calleeNonce, proofs: [proofOf(this.key, 'callee', handshake)] };
  }

  private sayAvailability(request: IncomingMessage, response: ServerResponse, body: string): void {
    const { digests } = JSON.parse(body) as { digests: string[] };
    const { image } = this;
    const claim = this.malice.claim ?? ((_digest, size) => ({ size, complete: true }));
    const blobs = digests.flatMap((digest): [string, object][] => {
      const bytes = image?.blobs.get(digest);
      return image && bytes ? [[digest, claim(digest, bytes.length, image)]] : [];
    });
    const honest = (): void =>
      sendJson(response, { ...this.identity, blobs: Object.fromEntries(blobs), participants: [] });
    if (blobs.length === 0) honest();
    else this.say('availability', request, response, honest);
  }

  /** Of other images it has nothing. */
  private sayOfImage(
    question: Question,
    images: readonly string[],
    request: IncomingMessage,
    response: ServerResponse,
    honest: () => void,
  ): void {
    if (this.image && images.includes(this.image.reference)) this.say(question, request, response, honest);
    else honest();
  }

  private sayBlob(request: IncomingMessage, response: ServerResponse, path: string): void {
    const digest = path.split('/').at(-1) ?? '';
    const bytes = this.image?.blobs.get(digest);
    if (!bytes) {
      response.writeHead(404).end();
      return;
    }
    const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const start = Number(match?.[1] ?? 0);
    const end = match?.[2] ? Number(match[2]) + 1 : bytes.length;
    const honest = (): void => sendRange(response, bytes, start, end);
    this.say('blob', request, response, honest, { digest, bytes, start, end });
  }

  private say(
    question: Question,
    request: IncomingMessage,
    response: ServerResponse,
    honest: () => void,
    { digest = '', bytes = Buffer.alloc(0), start = 0, end = 0 }: Partial<Asked> = {},
  ): void {
    const { image } = this;
    if (image) {
      const node = String(request.headers[IDENTITY_HEADERS.node.toLowerCase()]);
      this.asked.set(question, (this.asked.get(question) ?? 0) + 1);
      this.askedBy.set(node, (this.askedBy.get(node) ?? 0) + 1);
    }
    const malice = image && this.malice[question];
    if (malice) malice({ request, response, image, digest, bytes, start, end });
    else honest();
  }
}

export function sendJson(response: ServerResponse, document: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
}

/** `[start, end)` of `bytes`, as an honest peer sends it. */
export function sendRange(response: ServerResponse, bytes: Buffer, start: number, end: number): void {
  response.writeHead(206, headersOf(bytes, start, end));
  response.end(bytes.subarray(start, end));
}

export function headersOf(bytes: Buffer, start: number, end: number): Record<string, string | number> {
  return {
    'content-type': 'application/octet-stream',
    'content-length': end - start,
    'content-range': `bytes ${start}-${end - 1}/${bytes.length}`,
  };
}
