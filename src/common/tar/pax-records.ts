import { invalidTar } from './tar-header.js';

/** What a PAX extended header can change about the entry after it. */
export interface PaxOverrides {
  readonly path?: string;
  readonly linkPath?: string;
  readonly sizeBytes?: number;
}

/**
 * Records of the form `<length> <key>=<value>\n` (POSIX.1-2001); keys that do not concern us are passed over.
 * @throws InvalidInputError `INVALID_TAR`
 */
export function parsePaxRecords(bytes: Buffer): PaxOverrides {
  let path: string | undefined;
  let linkPath: string | undefined;
  let sizeBytes: number | undefined;
  for (let at = 0; at < bytes.length;) {
    const { key, value, end } = recordAt(bytes, at);
    at = end;
    // An empty value takes back what was said before: the plain header's counts.
    if (key === 'path') path = value === '' ? undefined : value;
    else if (key === 'linkpath') linkPath = value === '' ? undefined : value;
    else if (key === 'size') sizeBytes = sizeIn(value);
    // A sparse file's data is not its content: readers that know the format and those that do not would differ.
    else if (key.startsWith('GNU.sparse.')) throw invalidTar('an entry is sparse');
  }
  return {
    ...(path === undefined ? {} : { path }),
    ...(linkPath === undefined ? {} : { linkPath }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
}

function recordAt(bytes: Buffer, at: number): { key: string; value: string; end: number } {
  const space = bytes.subarray(at, at + 10).indexOf(0x20);
  const digits = space === -1 ? '' : bytes.toString('latin1', at, at + space);
  const end = at + Number(digits);
  if (!/^[1-9]\d*$/.test(digits) || end > bytes.length || bytes[end - 1] !== 0x0a)
    throw invalidTar('a PAX record is malformed');
  const record = bytes.toString('utf8', at + space + 1, end - 1);
  const equals = record.indexOf('=');
  if (equals <= 0) throw invalidTar('a PAX record is malformed');
  return { key: record.slice(0, equals), value: record.slice(equals + 1), end };
}

function sizeIn(value: string): number {
  const size = /^\d{1,16}$/.test(value) ? Number(value) : NaN;
  if (!Number.isSafeInteger(size)) throw invalidTar('a PAX record has a malformed size');
  return size;
}
