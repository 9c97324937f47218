import { type PaxOverrides, parsePaxRecords } from './pax-records.js';
import {
  decodeTarHeader,
  invalidTar,
  TAR_BLOCK_BYTES,
  type TarHeader,
  type TarHeaderType,
  tarPaddingOf,
} from './tar-header.js';
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
  /** Kinds of headers that stood before the next entry, and speak of it. */
  const before = new Set<TarHeaderType>();
  for (let headers = 1; ; headers += 1) {
    const block = await readBytes(input, TAR_BLOCK_BYTES);
    const header = block.length === 0 ? undefined : decodeTarHeader(block);
    if (header === undefined) return;
    if (headers > MAX_TAR_HEADERS) throw invalidTar(`it has more than ${MAX_TAR_HEADERS} headers`);
    const end = (sizeBytes: number): number => input.offset + sizeBytes + tarPaddingOf(sizeBytes);

    if (isExtended(header.type)) {
      const added = await readExtended(input, header);
      // Some readers let it count for every entry that follows, Go's does not.
      if (header.type === 'pax-global' && Object.keys(added).length > 0)
        throw invalidTar('a global header names a path or a size');
      // Go's reader forgets the one of two that came first, and both where a global header follows.
      if (before.has(header.type === 'pax-global' ? 'pax' : header.type))
        throw invalidTar('an entry has more headers of its own than readers agree on');
      if (header.type !== 'pax-global') before.add(header.type);
      overrides = joined(overrides, added);
      continue;
    }

    const sizeBytes = overrides.sizeBytes ?? header.sizeBytes;
    const name = overrides.path ?? header.name;
    const path = tarPath(name);
    const linkPath = overrides.linkPath ?? header.linkName;
    overrides = {};
    before.clear();
    if (path.length > MAX_PATH_LENGTH) throw invalidTar('a path is too long');
    // Old tars mark a directory by its name alone: the one that counts in the end, as Go reads it.
    const type = header.type === 'file' && name.endsWith('/') ? 'directory' : header.type;
    if (type === 'file') {
      if (path === '') throw invalidTar('a file has no name');
      const endOffset = end(sizeBytes);
      if (!Number.isSafeInteger(endOffset)) throw invalidTar('a size is too large');
      yield { type: 'file', path, sizeBytes, offset: input.offset };
      await input.skip(endOffset - input.offset);
    } else {
      // Readers differ in whether data follows these: accept only what all read alike.
      if (sizeBytes !== 0) throw invalidTar(`a ${type} has a size`);
      if (type === 'directory') yield { type, path };
      else yield { type, path, target: tarLinkTarget(path, type, linkPath) };
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

const EXTENDED = ['pax', 'pax-global', 'long-name', 'long-link'] as const;
type ExtendedType = (typeof EXTENDED)[number];

function isExtended(type: TarHeaderType): type is ExtendedType {
  return EXTENDED.some((extended) => extended === type);
}

/** What a header that describes others says, with its padding taken. */
async function readExtended(input: TarInput, { type, sizeBytes }: TarHeader): Promise<PaxOverrides> {
  if (sizeBytes > MAX_LONG_HEADER_BYTES) throw invalidTar('an extended header is too long');
  const bytes = await readBytes(input, sizeBytes);
  if (bytes.length < sizeBytes) throw invalidTar('it is cut short');
  await input.skip(tarPaddingOf(sizeBytes));
  if (type === 'long-name') return { path: untilNul(bytes) };
  if (type === 'long-link') return { linkPath: untilNul(bytes) };
  return parsePaxRecords(bytes);
}

function joined(known: PaxOverrides, added: PaxOverrides): PaxOverrides {
  if (Object.keys(added).some((key) => key in known))
    throw invalidTar('two headers say of the same entry what it is called');
  return { ...known, ...added };
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}
