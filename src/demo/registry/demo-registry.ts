import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { type Clock, systemClock } from '../../common/clock.js';
import { TokenBucket } from '../../common/token-bucket.js';
import { AccessControl } from './access-control.js';
import { sendEmpty, sendError } from './answers.js';
import type { BlobStorage } from './blob-storage.js';
import { BlobSender } from './blob-sender.js';
import { DirectoryBlobStorage } from './directory-blob-storage.js';
import { type Fault, FaultPlan } from './fault-plan.js';
import { MemoryBlobStorage } from './memory-blob-storage.js';
import { RegistryApi } from './registry-api.js';
import { DEFAULT_BEHAVIOUR, type RegistryBehaviour } from './registry-behaviour.js';
import { RegistryContent } from './registry-content.js';
import { StorageLinks } from './storage-links.js';
import { type LedgerEntry, TrafficLedger } from './traffic-ledger.js';

export interface DemoRegistryOptions extends Partial<RegistryBehaviour> {
  /** Where blobs are kept as files; without, in memory. */
  readonly directory?: string;
  /** The IP address it listens on and is named by; loopback's by default. */
  readonly address?: string;
  /** 0, the default: any free one. */
  readonly port?: number;
  /** Of everything it sends together; 0, the default: no limit. */
  readonly bandwidthBytesPerSecond?: number;
  readonly clock?: Clock;
}

const LOOPBACK = '127.0.0.1';

/**
 * A small OCI registry, on loopback unless told otherwise: pull with Range, as much of push as `docker push` and skopeo need, authentication,
 * redirects to a storage of its own. It keeps a ledger of what it was asked and what it sent, and can be told to fail.
 */
export class DemoRegistry {
  readonly ledger = new TrafficLedger();
  readonly faults = new FaultPlan();
  /** May be changed at any time; holds from the next request on. */
  readonly behaviour: RegistryBehaviour;
  /** What it has; fill it here, or by pushing. */
  readonly content: RegistryContent;
  readonly access: AccessControl;
  private readonly address: string;
  private readonly links: StorageLinks;
  private readonly sender: BlobSender;
  private readonly api: RegistryApi;
  private readonly servers: { readonly registry: Server; readonly storage: Server };

  private constructor(options: DemoRegistryOptions) {
    const { directory, bandwidthBytesPerSecond = 0, clock = systemClock } = options;
    const storage: BlobStorage =
      directory === undefined ? new MemoryBlobStorage() : new DirectoryBlobStorage(directory);
    this.address = options.address ?? LOOPBACK;
    this.behaviour = { ...DEFAULT_BEHAVIOUR, ...options };
    this.content = new RegistryContent(storage);
    this.access = new AccessControl(this.behaviour, clock);
    this.links = new StorageLinks(clock);
    const uplink = new TokenBucket(bandwidthBytesPerSecond, clock);
    this.sender = new BlobSender(storage, this.behaviour, this.ledger, uplink);
    this.api = new RegistryApi(this.content, this.behaviour, this.access, this.sender, this.links);
    const serve = (server: LedgerEntry['server']): Server =>
      createServer((request, response) => void this.handle(server, request, response));
    this.servers = { registry: serve('registry'), storage: serve('storage') };
  }

  static async start(options: DemoRegistryOptions = {}): Promise<DemoRegistry> {
    const registry = new DemoRegistry(options);
    await registry.listen('registry', options.port ?? 0);
    await registry.listen('storage', 0);
    return registry;
  }

  /** `127.0.0.1:<port>` or `[<IPv6>]:<port>`, as it stands in references. */
  get host(): string {
    return this.hostOf('registry');
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** Breaks what is under way. */
  async stop(): Promise<void> {
    await Promise.all(
      Object.values(this.servers).map(async (server) => {
        const closed = once(server, 'close');
        server.close();
        server.closeAllConnections();
        await closed;
      }),
    );
  }

  private async handle(
    server: LedgerEntry['server'],
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { method = 'GET', headers } = request;
    const url = new URL(request.url ?? '/', this.url);
    const entry: LedgerEntry = {
      server,
      client: request.socket.remoteAddress,
      method,
      path: url.pathname,
      range: headers.range,
      authorization: headers.authorization?.split(' ', 1)[0]?.toLowerCase(),
      status: undefined,
    };
    this.ledger.record(entry);
    response.once('close', () => {
      if (response.headersSent) entry.status = response.statusCode;
    });
    try {
      const fault = this.faults.take(method, url.pathname, request.socket.remoteAddress);
      if (fault && failAtOnce(fault, request, response)) return;
      if (server === 'storage') await this.serveStorage(request, response, url, fault);
      else await this.api.serve(request, response, fault, this.urls);
    } catch {
      // The client went away, or the storage failed: what has not been answered in full must not look as if it had.
      if (response.headersSent) response.destroy();
      else sendError(response, 500, 'UNKNOWN');
    }
  }

  private async serveStorage(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    fault: Fault | undefined,
  ): Promise<void> {
    const digest = this.links.open(url);
    // Object stores refuse a second credential beside the signature.
    if (request.headers.authorization !== undefined) {
      sendError(response, 400, 'InvalidArgument');
      return;
    }
    if (!digest) {
      sendError(response, 403, 'AccessDenied');
      return;
    }
    const headers = { 'content-type': 'application/octet-stream' };
    return this.sender.send(request, response, digest, { headers, fault, counts: true });
  }

  private get urls(): { registryUrl: string; storageUrl: string } {
    return { registryUrl: this.url, storageUrl: `http://${this.hostOf('storage')}` };
  }

  private hostOf(server: LedgerEntry['server']): string {
    const { port } = this.servers[server].address() as AddressInfo;
    return this.address.includes(':') ? `[${this.address}]:${port}` : `${this.address}:${port}`;
  }

  private async listen(server: LedgerEntry['server'], port: number): Promise<void> {
    this.servers[server].listen(port, this.address);
    await once(this.servers[server], 'listening');
  }
}

/** Faults that leave nothing of the right answer. */
function failAtOnce(fault: Fault, request: IncomingMessage, response: ServerResponse): boolean {
  switch (fault.kind) {
    case 'status':
      if (fault.status < 400) sendEmpty(response, fault.status, fault.headers ?? {});
      else {
        for (const [name, value] of Object.entries(fault.headers ?? {})) response.setHeader(name, value);
        sendError(response, fault.status, 'UNKNOWN');
      }
      return true;
    case 'hang':
      return true;
    case 'reset':
      request.socket.resetAndDestroy();
      return true;
    default:
      return false;
  }
}
