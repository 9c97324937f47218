import { type PaxOverrides, parsePaxRecords } from './pax-records.js';
import { decodeTarHeader, invalidTar, TAR_BLOCK_BYTES, tarPaddingOf } from './tar-header.js';
import { readBytes, type TarInput } from './tar-input.js';
import { tarLinkTarget, tarPath } from './tar-path.js';

/** Longest PAX or GNU long-name header. Bytes. */
const MAX_LONG_HEADER_BYTES = 1024 * 1024;
/** Longest path; what Linux takes. Bytes. */
const MAX_PATH_LENGTH = 4096;
/** An image of 1,000 layers has about 4,000 entries in the wordiest format. */
export const MAX_TAR_HEADERS = 65_536;

/** One entry. Paths are in the one spelling of `tarPath`; a link's target is inside the archive. */
export type TarEntry =
  | {
      readonly type: 'file';
      readonly path: string;
      readonly sizeBytes: number;
      /** Of its first byte, from the input's start. */
      readonly offset: number;
    }
  | { readonly type: 'directory'; readonly path: string }
  | { readonly type: 'symlink' | 'hardlink'; readonly path: string; readonly target: string };

/**
 * The entries of a tar, in order. A file's data may be taken from `input` (see `entryData`) before the next entry is
 * asked for; what was left of it is skipped. Strict where readers of tars are known to differ: what is not
 * plainly right is refused.
 * @throws InvalidInputError `INVALID_TAR`
 */
export async function* tarEntries(input: TarInput): AsyncGenerator<TarEntry, void, undefined> {
  let overrides: PaxOverrides = {};
  for (let headers = 1; ; headers += 1) {
    const block = await readBytes(input, TAR_BLOCK_BYTES);
    const header = block.length === 0 ? undefined : decodeTarHeader(block);
    if (header === undefined) return;
    if (headers > MAX_TAR_HEADERS) throw invalidTar(`it has more than ${MAX_TAR_HEADERS} headers`);
    const end = (sizeBytes: number): number => input.offset + sizeBytes + tarPaddingOf(sizeBytes);

    if (header.type === 'pax' || header.type === 'long-name' || header.type === 'long-link') {
      if (header.sizeBytes > MAX_LONG_HEADER_BYTES) throw invalidTar('an extended header is too long');
      const endOffset = end(header.sizeBytes);
      const bytes = await readBytes(input, header.sizeBytes);
      if (bytes.length < header.sizeBytes) throw invalidTar('it is cut short');
      if (header.type === 'pax') overrides = { ...overrides, ...parsePaxRecords(bytes) };
      else if (header.type === 'long-name') overrides = { ...overrides, path: untilNul(bytes) };
      else overrides = { ...overrides, linkPath: untilNul(bytes) };
      await input.skip(endOffset - input.offset);
      continue;
    }
    if (header.type === 'pax-global') {
      await input.skip(end(header.sizeBytes) - input.offset);
      continue;
    }

    const sizeBytes = overrides.sizeBytes ?? header.sizeBytes;
    const path = tarPath(overrides.path ?? header.name);
    const linkPath = overrides.linkPath ?? header.linkName;
    overrides = {};
    if (path.length > MAX_PATH_LENGTH) throw invalidTar('a path is too long');
    if (header.type === 'file') {
      if (path === '') throw invalidTar('a file has no name');
      const endOffset = end(sizeBytes);
      if (!Number.isSafeInteger(endOffset)) throw invalidTar('a size is too large');
      yield { type: 'file', path, sizeBytes, offset: input.offset };
      await input.skip(endOffset - input.offset);
    } else {
      // Readers differ in whether data follows these: accept only what all read alike.
      if (sizeBytes !== 0) throw invalidTar(`a ${header.type} has a size`);
      if (header.type === 'directory') yield { type: 'directory', path };
      else yield { type: header.type, path, target: tarLinkTarget(path, header.type, linkPath) };
    }
  }
}

/** The data of the entry that `tarEntries` has just yielded. @throws InvalidInputError `INVALID_TAR` when it is cut short */
export async function* entryData(
  input: TarInput,
  sizeBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  for (let missing = sizeBytes; missing > 0;) {
    const part = await input.take(missing);
    if (part === undefined) throw invalidTar('it is cut short');
    missing -= part.length;
    yield part;
  }
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}
