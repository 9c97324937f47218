import { Readable } from 'node:stream';

import { FileTarInput, StreamTarInput } from '../../common/tar/tar-input.js';
import { tarPath } from '../../common/tar/tar-path.js';
import { InvalidInputError } from '../../domain/errors.js';
import type { ArchiveFile } from './archive-file.js';
import { archiveInvalid, type ArchiveReader, type Compression } from './archive-reader.js';
import {
  compressionIn,
  decompress,
  expansionLimit,
  isZlibError,
  MAGIC_BYTES,
  sliceOf,
} from './decompress.js';
import { DocumentCache } from './document-cache.js';
import { type TarFile, TarTable } from './tar-table.js';

/** A tar on disk. A plain one is read at the offset that is wanted; a compressed one is unpacked up to there. */
export class TarArchive implements ArchiveReader {
  private constructor(
    private readonly file: ArchiveFile,
    private readonly compression: Compression | undefined,
    private readonly table: TarTable,
    private readonly documents: DocumentCache,
  ) {}

  /**
   * Goes over the tar once: over its headers alone, or over all of it when it is compressed.
   * @throws PreheatFailure `archive_invalid`
   */
  static async index(file: ArchiveFile, signal: AbortSignal): Promise<TarArchive> {
    const documents = new DocumentCache();
    const handle = await file.open();
    try {
      const magic = Buffer.alloc(MAGIC_BYTES);
      await handle.read(magic, 0, MAGIC_BYTES, 0);
      const compression = compressionIn(magic);
      const table =
        compression === undefined
          ? await TarTable.read(new FileTarInput(handle, file.sizeBytes, signal))
          : await unpackTable(file, compression, documents, signal);
      return new TarArchive(file, compression, table, documents);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof InvalidInputError) throw archiveInvalid(error.message, error);
      throw isZlibError(error) ? archiveInvalid('it does not unpack', error) : error;
    } finally {
      await handle.close();
    }
  }

  sizeOf(path: string): Promise<number | undefined> {
    return Promise.resolve(this.find(path)?.sizeBytes);
  }

  /** How a file inside is compressed, by its first bytes. */
  compressionOf(path: string): Compression | undefined {
    return this.find(path)?.compression;
  }

  async open(path: string, start: number, signal: AbortSignal): Promise<Readable> {
    const entry = this.find(path);
    if (!entry) throw archiveInvalid(`it has no ${path}`);
    const document = this.documents.get(path);
    if (document) return Readable.from([document.subarray(start)], { objectMode: false });
    const offset = entry.offset + start;
    const length = Math.max(0, entry.sizeBytes - start);
    if (this.compression === undefined)
      return sliceOf(await this.file.stream(offset, offset + length, signal), 0, length);
    const packed = await this.file.stream(0, this.file.sizeBytes, signal);
    return sliceOf(decompress(packed, this.compression), offset, length);
  }

  /** Forgets what was kept of the pass over a compressed archive: memory is for indexing only. */
  trim(): void {
    this.documents.clear();
  }

  private find(path: string): TarFile | undefined {
    return this.table.find(tarPath(path));
  }
}

async function unpackTable(
  file: ArchiveFile,
  compression: Compression,
  documents: DocumentCache,
  signal: AbortSignal,
): Promise<TarTable> {
  const unpacked = decompress(await file.stream(0, file.sizeBytes, signal), compression);
  try {
    const limit = expansionLimit(file.sizeBytes);
    return await TarTable.read(new StreamTarInput(unpacked, limit, signal), documents);
  } finally {
    unpacked.destroy();
  }
}
