import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Inject, Injectable } from '@nestjs/common';

import { TEMPORARY_SUFFIX } from '../common/atomic-file.js';
import { AppConfig } from '../config/app-config.js';
import { type Digest, hexOf, parseDigest } from '../domain/digest.js';

const PRIVATE_DIRECTORY = 0o700;
const OCI_LAYOUT = '{"imageLayoutVersion":"1.0.0"}';

/** Where everything in `STORE_DIR` is. Names of blobs come from digests alone, checked once more here. */
@Injectable()
export class StoreLayout {
  readonly root: string;
  /** OCI image layout, section "Content": only complete, verified blobs, only by rename. */
  readonly blobs: string;
  readonly partials: string;
  readonly chunks: string;
  readonly lockFile: string;
  readonly ociLayoutFile: string;
  readonly indexFile: string;
  readonly catalogFile: string;
  readonly recordsFile: string;
  readonly keyFile: string;

  constructor(@Inject(AppConfig) config: AppConfig) {
    this.root = config.store.directory;
    this.blobs = join(this.root, 'blobs', 'sha256');
    this.partials = join(this.root, 'partial');
    this.chunks = join(this.root, 'chunks');
    this.lockFile = join(this.root, '.lock');
    this.ociLayoutFile = join(this.root, 'oci-layout');
    this.indexFile = join(this.root, 'index.json');
    this.catalogFile = join(this.root, 'catalog.json');
    this.recordsFile = join(this.root, 'records.json');
    this.keyFile = join(this.root, 'peer-key');
  }

  blob(digest: Digest): string {
    return join(this.blobs, fileNameOf(digest));
  }

  partial(digest: Digest): string {
    return join(this.partials, fileNameOf(digest));
  }

  partialRecord(digest: Digest): string {
    return join(this.partials, `${fileNameOf(digest)}.json`);
  }

  chunkHashes(digest: Digest): string {
    return join(this.chunks, `${fileNameOf(digest)}.json`);
  }

  /** A name nobody else has, for a file whose digest is not known yet; swept at start when a crash left it. */
  spool(): string {
    return join(this.partials, `${randomBytes(12).toString('hex')}${TEMPORARY_SUFFIX}`);
  }

  /**
   * Makes the folders that are missing. Every write begins here, because `STORE_DIR` may be deleted
   * under a running agent, and that must cost downloads only.
   */
  async ensure(): Promise<void> {
    const options = { recursive: true, mode: PRIVATE_DIRECTORY };
    const [created] = await Promise.all([
      mkdir(this.blobs, options),
      mkdir(this.partials, options),
      mkdir(this.chunks, options),
    ]);
    if (created !== undefined) await writeFile(this.ociLayoutFile, OCI_LAYOUT, { mode: 0o600 });
  }
}

function fileNameOf(digest: Digest): string {
  return hexOf(parseDigest(digest));
}
