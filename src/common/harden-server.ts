import type { Server } from 'node:http';

/**
 * Time-outs against clients that dawdle over their request. None is on the answer: a download may take an hour, and
 * whoever streams watches for progress there.
 */
export function hardenServer(server: Server): void {
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  // Longer than peers and proxies keep an idle connection, so that it is they who close it and no request is lost.
  server.keepAliveTimeout = 75_000;
  server.maxHeadersCount = 100;
}
