import { lstat, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

import { ArchiveFile } from './archive-file.js';
import { archiveInvalid, type ArchiveReader } from './archive-reader.js';
import { sliceOf } from './decompress.js';

const LAYOUT_PATH = /^(?:oci-layout|index\.json|blobs\/sha256\/[0-9a-f]{64})$/;

/** An OCI layout folder. Only the layout's own files are seen; links, to files or folders, lead nowhere. */
export class DirectoryArchive implements ArchiveReader {
  private constructor(private readonly directory: string) {}

  /** @throws PreheatFailure `archive_invalid` when the folder of its blobs is not its own */
  static async index(directory: string): Promise<DirectoryArchive> {
    const own = join(await realpath(directory), 'blobs', 'sha256');
    const real = await realpath(own).catch(() => undefined);
    if (real !== own) throw archiveInvalid('it has no folder blobs/sha256 of its own');
    return new DirectoryArchive(directory);
  }

  async sizeOf(path: string): Promise<number | undefined> {
    return (await this.fileAt(path))?.sizeBytes;
  }

  async open(path: string, start: number, signal: AbortSignal): Promise<Readable> {
    const file = await this.fileAt(path);
    if (!file) throw archiveInvalid(`it has no ${path}`);
    return sliceOf(await file.stream(start, file.sizeBytes, signal), 0, Math.max(0, file.sizeBytes - start));
  }

  private async fileAt(path: string): Promise<ArchiveFile | undefined> {
    if (!LAYOUT_PATH.test(path)) return undefined;
    return ArchiveFile.at(this.directory, path).catch(() => undefined);
  }
}

/** Changes when a blob comes or goes, or the index is replaced. */
export async function layoutSignature(directory: string): Promise<string | undefined> {
  const parts: string[] = [];
  for (const path of ['oci-layout', 'index.json', 'blobs/sha256']) {
    const stat = await lstat(join(directory, path), { bigint: true }).catch(() => undefined);
    if (!stat) return undefined;
    parts.push(`${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`);
  }
  return parts.join(' ');
}
