import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { DockerEngine } from '../../test/support/docker-engine.js';
import type { LinkHost } from './link-host.js';

const run = promisify(execFile);

/** `docker save` of one node's engine over HTTP into `docker load` of another's: both ways of doing it. */
export class ImageCopies {
  constructor(
    private readonly from: DockerEngine,
    private readonly to: DockerEngine,
    /** Where `to` runs. */
    private readonly place: LinkHost,
    private readonly reference: string,
  ) {}

  /** Loaded as it comes: the best that the chain can do. */
  async piped(): Promise<void> {
    await this.shell('docker --host "$1" save "$3" | docker --host "$2" load');
  }

  /** The whole file first. */
  async byFile(): Promise<void> {
    const file = join(this.to.directory, 'tmp', 'saved.tar');
    try {
      await this.shell(
        `docker --host "$1" save --output '${file}' "$3" && docker --host "$2" load --input '${file}'`,
      );
    } finally {
      await rm(file, { force: true });
    }
  }

  /** `$1` and `$2` are the engines, `$3` is the image. */
  private async shell(script: string): Promise<void> {
    const { launcher } = this.place;
    const [command, ...args] = [...launcher, 'bash', '-o', 'pipefail', '-c', script, 'bash'];
    await run(command, [...args, this.from.remoteHost, this.to.host, this.reference]);
  }
}
