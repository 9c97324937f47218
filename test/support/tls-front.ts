import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';

const exec = promisify(execFile);

/** A CA, a server's certificate for one name, and a client's certificate, all PEM; made by `openssl`. */
export interface TestCertificates {
  readonly ca: Buffer;
  readonly server: { readonly cert: Buffer; readonly key: Buffer };
  readonly client: { readonly cert: Buffer; readonly key: Buffer };
}

/** @param days how long the server's is good for; -1: it has expired */
export async function makeCertificates(serverName: string, days = 2): Promise<TestCertificates> {
  const directory = await mkdtemp(join(tmpdir(), 'certs-'));
  const path = (name: string): string => join(directory, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const sign = async (name: string, forDays: number): Promise<{ cert: Buffer; key: Buffer }> => {
    await writeFile(path('ext'), `subjectAltName=DNS:${name}`);
    const request = ['-keyout', path(`${name}.key`), '-out', path(`${name}.csr`), '-subj', `/CN=${name}`];
    await exec('openssl', ['req', ...key, ...request]);
    const authority = ['-CA', path('ca.crt'), '-CAkey', path('ca.key'), '-CAcreateserial'];
    const validity = ['-days', String(forDays)];
    const files = ['-in', path(`${name}.csr`), '-out', path(`${name}.cert`), '-extfile', path('ext')];
    await exec('openssl', ['x509', '-req', ...authority, ...validity, ...files]);
    return { cert: await readFile(path(`${name}.cert`)), key: await readFile(path(`${name}.key`)) };
  };
  try {
    const authority = [
      '-keyout',
      path('ca.key'),
      '-out',
      path('ca.crt'),
      '-subj',
      '/CN=Test CA',
      '-days',
      '2',
    ];
    await exec('openssl', ['req', '-x509', ...key, ...authority]);
    const ca = await readFile(path('ca.crt'));
    return { ca, server: await sign(serverName, days), client: await sign('client.test', 2) };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Speaks TLS on loopback for a server that speaks plain HTTP. */
export class TlsFront {
  private constructor(
    private readonly server: Server,
    private readonly sockets: Set<TLSSocket>,
  ) {}

  /** @param clientCertificates whether a client without one, of the same CA, is refused */
  static async start(
    { ca, server: { cert, key } }: TestCertificates,
    targetPort: number,
    clientCertificates: boolean,
  ): Promise<TlsFront> {
    const sockets = new Set<TLSSocket>();
    const options = {
      ca,
      cert,
      key,
      requestCert: clientCertificates,
      rejectUnauthorized: clientCertificates,
    };
    const server = createServer(options, (socket) => {
      sockets.add(socket);
      const target = connect(targetPort, '127.0.0.1');
      pipeline(socket, target, socket, () => sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TlsFront(server, sockets);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Shows another certificate from the next connection on. */
  renew({ server: { cert, key } }: TestCertificates): void {
    this.server.setSecureContext({ cert, key });
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}
