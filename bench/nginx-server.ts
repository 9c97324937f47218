import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ChildDaemon } from '../test/support/child-daemon.js';
import { freePort } from '../test/support/free-port.js';

/** nginx as one process that sends the files of a directory with sendfile(2). */
export class NginxServer {
  private constructor(
    private readonly directory: string,
    readonly port: number,
    private readonly daemon: ChildDaemon,
  ) {}

  static async start(root: string): Promise<NginxServer> {
    const directory = await mkdtemp(join(tmpdir(), 'nginx-'));
    const port = await freePort();
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const configuration = `
      daemon off; master_process off; user root; pid ${directory}/pid; error_log ${directory}/log;
      events { }
      http {
        access_log off; sendfile on; tcp_nopush on;
        ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join(' ')}
        server { listen 127.0.0.1:${port}; root ${root}; }
      }`;
    await writeFile(join(directory, 'nginx.conf'), configuration);
    const daemon = ChildDaemon.start({
      command: 'nginx',
      args: ['-p', directory, '-c', join(directory, 'nginx.conf')],
      outFile: join(directory, 'log'),
      errFile: join(directory, 'log'),
    });
    const server = new NginxServer(directory, port, daemon);
    await daemon.ready(() => fetch(`http://127.0.0.1:${port}/`), 10_000);
    return server;
  }

  get pid(): number {
    return this.daemon.pid;
  }

  async stop(): Promise<void> {
    await this.daemon.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}
