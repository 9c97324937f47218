import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { join } from 'node:path';

import Docker from 'dockerode';

import type { AppConfig } from '../../config/app-config.js';
import { messageOf, PreheatFailure } from '../../domain/errors.js';

type DockerSettings = AppConfig['runtime'];

/** Without this, dockerode takes whatever it does not find here from the environment. */
const NOTHING_FROM_ENVIRONMENT = {
  host: undefined,
  port: undefined,
  ca: undefined,
  cert: undefined,
  key: undefined,
  timeout: undefined,
};
/** A new connection per request: one kept alive may belong to a daemon that is no more. */
const PLAIN_AGENT = new HttpAgent({ keepAlive: false });

/**
 * A client for `DOCKER_HOST`. With TLS, as Docker's own clients do it: on when `DOCKER_CERT_PATH` or `DOCKER_TLS_VERIFY`
 * is set; the server's name and certificate are checked when the latter is. Made anew for each request, so that
 * renewed certificates are taken.
 * @throws PreheatFailure `runtime_unreachable`
 */
export async function connectDocker(settings: DockerSettings): Promise<Docker> {
  const { dockerHost } = settings;
  const socketPath = /^(?:unix|npipe):\/\/(.+)$/.exec(dockerHost)?.[1];
  if (socketPath !== undefined) return client({ protocol: 'http', socketPath }, PLAIN_AGENT);
  const url = URL.parse(dockerHost.includes('://') ? dockerHost : `tcp://${dockerHost}`);
  if (!url || !['tcp:', 'http:', 'https:'].includes(url.protocol) || url.hostname === '')
    throw new PreheatFailure(
      'runtime_unreachable',
      `DOCKER_HOST "${dockerHost.slice(0, 200)}" is not understood: unix:///path and tcp://host:port are accepted`,
    );
  const tls = url.protocol === 'https:' || settings.dockerTlsVerify || settings.dockerCertPath !== undefined;
  const agent = tls ? new HttpsAgent({ keepAlive: false, ...(await tlsOptions(settings)) }) : PLAIN_AGENT;
  const port = url.port === '' ? (tls ? 2376 : 2375) : Number(url.port);
  return client({ protocol: tls ? 'https' : 'http', host: url.hostname, port }, agent);
}

function client(options: Docker.DockerOptions, agent: HttpAgent): Docker {
  // docker-modem takes an agent, though its types do not say so.
  const withAgent = { ...NOTHING_FROM_ENVIRONMENT, ...options, agent };
  return new Docker(withAgent);
}

async function tlsOptions({ dockerCertPath, dockerTlsVerify }: DockerSettings): Promise<{
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
  rejectUnauthorized: boolean;
}> {
  if (dockerCertPath === undefined) return { rejectUnauthorized: dockerTlsVerify };
  const read = (name: string): Promise<Buffer> => readFile(join(dockerCertPath, name));
  try {
    const [ca, cert, key] = await Promise.all([read('ca.pem'), read('cert.pem'), read('key.pem')]);
    return { ca, cert, key, rejectUnauthorized: dockerTlsVerify };
  } catch (cause) {
    throw new PreheatFailure('runtime_unreachable', `Docker's certificates: ${messageOf(cause)}`, { cause });
  }
}
