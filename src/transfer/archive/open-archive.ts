import { join } from 'node:path';

import { ArchiveContent } from './archive-content.js';
import { ArchiveFile } from './archive-file.js';
import { archiveInvalid } from './archive-reader.js';
import { DirectoryArchive } from './directory-archive.js';
import { readDockerArchive } from './docker-archive.js';
import type { ArchiveCandidate } from './mount-directory.js';
import { readOciLayout } from './oci-layout.js';
import { TarArchive } from './tar-archive.js';

/**
 * Reads what an archive in `directory` holds: its table of files, and the documents that name images.
 * @throws PreheatFailure `archive_invalid`, or `registry_error` for a manifest that is none
 */
export async function openArchive(
  directory: string,
  { name, kind }: ArchiveCandidate,
  signal: AbortSignal,
): Promise<ArchiveContent> {
  if (kind === 'layout') {
    const layout = await DirectoryArchive.index(join(directory, name));
    return new ArchiveContent(name, layout, (await readOciLayout(layout, signal)) ?? [], new Map());
  }
  const file = await ArchiveFile.at(directory, name);
  if (!file) throw archiveInvalid('it is not a regular file');
  const tar = await TarArchive.index(file, signal);
  try {
    // `docker save` since 25 writes both forms at once: the OCI layout says more.
    const layout = await readOciLayout(tar, signal);
    if (layout !== undefined && layout.length > 0) return new ArchiveContent(name, tar, layout, new Map());
    const docker = await readDockerArchive(tar, signal);
    if (docker) return new ArchiveContent(name, tar, docker.roots, docker.blobs);
  } finally {
    tar.trim();
  }
  throw archiveInvalid('it is neither a docker-archive nor an OCI layout');
}
