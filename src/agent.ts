import { Server as HttpsServer } from 'node:https';

import type { NestApplicationOptions } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';

import { AppModule } from './app.module.js';
import { abandonable } from './common/abandonable.js';
import { errnoOf } from './common/errno.js';
import { PortInUseError } from './common/port-in-use-error.js';
import type { AppConfig, TlsFiles } from './config/app-config.js';
import { configureApp } from './configure-app.js';
import { AgentLogger } from './http/agent-logger.js';
import { MirrorServer } from './mirror/mirror.server.js';
import { PeerRefreshService } from './peers/peer-refresh.service.js';
import { AcceptedConnections } from './peers/tls/accepted-connections.js';
import { AgentCertificates } from './peers/tls/agent-certificates.js';
import { readTlsFiles } from './peers/tls/tls-files.js';
import { PreheatScheduler } from './preheat/preheat.scheduler.js';
import { BlobStore } from './store/blob-store.js';

export interface RunningAgent {
  readonly app: NestExpressApplication;
  /** Aborts what is under way, gives the locks back, closes everything. */
  stop(): Promise<void>;
}

/**
 * Starts one agent, in an order that matters: the mirror's port is bound before the store is touched, so that two
 * agents of one host never share a store; and peers can ask this agent before it asks them, and takes its first lock.
 * @param signal gives the start up: what was started is stopped again
 * @throws the signal's reason
 */
export async function startAgent(config: AppConfig, signal: AbortSignal): Promise<RunningAgent> {
  const httpsOptions = config.tls && (await tlsOptions(config.tls));
  const app = await NestFactory.create<NestExpressApplication>(AppModule.register(config), {
    ...(httpsOptions ? { httpsOptions } : {}),
    abortOnError: false,
    forceCloseConnections: true,
    bufferLogs: true,
    bodyParser: false,
  });
  const mirror = app.get(MirrorServer);
  const store = app.get(BlobStore);
  const scheduler = app.get(PreheatScheduler);
  const stop = async (): Promise<void> => {
    await scheduler.stop();
    await app.close();
    await mirror.close();
    await store.close();
  };
  try {
    app.useLogger(app.get(AgentLogger));
    configureApp(app);
    renewCertificates(app, config);
    signal.throwIfAborted();
    await mirror.listen();
    await store.open();
    // What waits for an API server in there ends when the application is closed.
    await abandonable(listen(app, config), signal);
    app.get(PeerRefreshService).start();
    scheduler.start();
    return { app, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Who has no certificate is not cut off here: see `requireClientCertificate`. */
async function tlsOptions(files: TlsFiles): Promise<NonNullable<NestApplicationOptions['httpsOptions']>> {
  return { ...(await readTlsFiles(files)), requestCert: true, rejectUnauthorized: false };
}

function renewCertificates(app: NestExpressApplication, { pullingTimeoutMs }: AppConfig): void {
  const server: unknown = app.getHttpServer();
  if (!(server instanceof HttpsServer)) return;
  const accepted = new AcceptedConnections(server as HttpsServer);
  app.get(AgentCertificates).onChange((material) => {
    server.setSecureContext(material);
    accepted.endAll(pullingTimeoutMs);
  });
}

async function listen(app: NestExpressApplication, { host, port }: AppConfig): Promise<void> {
  try {
    await app.listen(port, host);
  } catch (error) {
    throw errnoOf(error) === 'EADDRINUSE' ? new PortInUseError('PORT', host, port) : error;
  }
}
