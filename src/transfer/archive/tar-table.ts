import { tarEntries } from '../../common/tar/tar-entries.js';
import { invalidTar } from '../../common/tar/tar-header.js';
import { readBytes, type TarInput } from '../../common/tar/tar-input.js';
import type { Compression } from './archive-reader.js';
import { compressionIn, MAGIC_BYTES } from './decompress.js';
import type { DocumentCache } from './document-cache.js';

/** All paths and link targets of one archive together. Characters. */
const MAX_NAMES_LENGTH = 8 * 1024 * 1024;
/** Links that lead to links; Linux's own limit is 40. */
const MAX_LINKS_IN_A_ROW = 8;

/** Where a file lies in a tar. */
export interface TarFile {
  /** Of its first byte, from the (unpacked) tar's start. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly compression?: Compression;
}

/** The files of a tar by path, links followed; made by one pass over its headers. */
export class TarTable {
  private readonly files = new Map<string, TarFile>();
  private readonly links = new Map<string, string>();

  /**
   * @param documents takes what is small on the way
   * @throws InvalidInputError `INVALID_TAR`, for a path that is there twice too: readers differ in which one counts
   */
  static async read(input: TarInput, documents?: DocumentCache): Promise<TarTable> {
    const table = new TarTable();
    let namesLength = 0;
    for await (const entry of tarEntries(input)) {
      namesLength += entry.path.length + ('target' in entry ? entry.target.length : 0);
      if (namesLength > MAX_NAMES_LENGTH) throw invalidTar('its paths are too long');
      if (entry.type === 'directory') continue;
      if (table.files.has(entry.path) || table.links.has(entry.path))
        throw invalidTar(`${JSON.stringify(entry.path)} is there twice`);
      if (entry.type !== 'file') {
        table.links.set(entry.path, entry.target);
        continue;
      }
      const { offset, sizeBytes } = entry;
      const isDocument = documents?.hasRoomFor(sizeBytes) ?? false;
      const start = await readBytes(input, isDocument ? sizeBytes : Math.min(sizeBytes, MAGIC_BYTES));
      if (isDocument) documents?.set(entry.path, start);
      const compression = compressionIn(start);
      table.files.set(entry.path, { offset, sizeBytes, ...(compression ? { compression } : {}) });
    }
    return table;
  }

  /** undefined when nothing is there, or only a link that leads nowhere. */
  find(path: string): TarFile | undefined {
    let at = path;
    for (let hops = 0; hops <= MAX_LINKS_IN_A_ROW; hops += 1) {
      const file = this.files.get(at);
      if (file) return file;
      const target = this.links.get(at);
      if (target === undefined) return undefined;
      at = target;
    }
    return undefined;
  }
}
