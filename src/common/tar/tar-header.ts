import { InvalidInputError } from '../../domain/errors.js';

/** Tar is a sequence of blocks of this size. Bytes. */
export const TAR_BLOCK_BYTES = 512;

export type TarHeaderType =
  'file' | 'hardlink' | 'symlink' | 'directory' | 'pax' | 'pax-global' | 'long-name' | 'long-link';

/** One header block, before the long headers that may stand before it are applied. Nothing in it is to be trusted. */
export interface TarHeader {
  readonly name: string;
  readonly type: TarHeaderType;
  readonly sizeBytes: number;
  readonly linkName: string;
}

/** POSIX.1-1988 (ustar) fields: offset and length. */
const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 6],
  prefix: [345, 155],
} as const;

/** Devices, FIFOs, sparse and multi-volume entries have no place in an image archive: they are refused, not skipped. */
const TYPES: ReadonlyMap<string, TarHeaderType> = new Map([
  ['\0', 'file'],
  ['0', 'file'],
  ['7', 'file'],
  ['1', 'hardlink'],
  ['2', 'symlink'],
  ['5', 'directory'],
  ['x', 'pax'],
  ['g', 'pax-global'],
  ['L', 'long-name'],
  ['K', 'long-link'],
]);

export function invalidTar(why: string): InvalidInputError {
  return new InvalidInputError('INVALID_TAR', `not a usable tar: ${why}`);
}

/** @returns undefined for a block of zeros, which ends an archive. @throws InvalidInputError `INVALID_TAR` */
export function decodeTarHeader(block: Buffer): TarHeader | undefined {
  if (block.length !== TAR_BLOCK_BYTES) throw invalidTar('it ends inside a header');
  if (block.every((byte) => byte === 0)) return undefined;
  if (checksumOf(block) !== numberIn(block, FIELD.checksum)) throw invalidTar('a header checksum is wrong');

  const [typeAt] = FIELD.type;
  const type = TYPES.get(String.fromCharCode(block[typeAt] ?? 0));
  if (type === undefined) throw invalidTar(`an entry has type ${block[typeAt] ?? 0}`);
  const name = textIn(block, FIELD.name);
  // GNU tar keeps other things where POSIX has the prefix, and says so by another magic.
  const isPosix = block.toString('latin1', FIELD.magic[0], FIELD.magic[0] + 6) === 'ustar\0';
  const prefix = isPosix ? textIn(block, FIELD.prefix) : '';
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type,
    sizeBytes: numberIn(block, FIELD.size),
    linkName: textIn(block, FIELD.linkName),
  };
}

/**
 * The header of a regular file that root owns, made at the epoch: the same bytes for the same arguments.
 * @param name at most 100 ASCII characters
 */
export function encodeTarHeader(name: string, sizeBytes: number): Buffer {
  if (!/^[\x21-\x7e]{1,100}$/.test(name)) throw new RangeError(`"${name}" does not fit a plain tar header`);
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  block.write(name, FIELD.name[0], 'latin1');
  block.write('0000644\0', FIELD.mode[0], 'latin1');
  block.write('0000000\0', FIELD.uid[0], 'latin1');
  block.write('0000000\0', FIELD.gid[0], 'latin1');
  writeSize(block, sizeBytes);
  block.write('00000000000\0', FIELD.mtime[0], 'latin1');
  block.write('0', FIELD.type[0], 'latin1');
  block.write('ustar\x0000', FIELD.magic[0], 'latin1');
  block.write(`${checksumOf(block).toString(8).padStart(6, '0')}\0 `, FIELD.checksum[0], 'latin1');
  return block;
}

/** Bytes of padding after `sizeBytes` of data. */
export function tarPaddingOf(sizeBytes: number): number {
  return (TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

function writeSize(block: Buffer, sizeBytes: number): void {
  const [at] = FIELD.size;
  if (sizeBytes < 8 ** 11) {
    block.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, at, 'latin1');
    return;
  }
  // 8 GiB and above: GNU's base-256, which Go's archive/tar (Docker, containerd) reads too.
  block[at] = 0x80;
  block.writeBigUInt64BE(BigInt(sizeBytes), at + 4);
}

function textIn(block: Buffer, [start, length]: readonly [number, number]): string {
  const end = block.indexOf(0, start);
  return block.toString('utf8', start, end === -1 || end > start + length ? start + length : end);
}

/** Octal digits, or base-256 when the first bit is set. */
function numberIn(block: Buffer, [start, length]: readonly [number, number]): number {
  const field = block.subarray(start, start + length);
  if (((field[0] ?? 0) & 0x80) !== 0) {
    let value = (field[0] ?? 0) & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    if (!Number.isSafeInteger(value)) throw invalidTar('a number in a header is too large');
    return value;
  }
  const digits = /^ *([0-7]*)[ \0]*$/.exec(field.toString('latin1'))?.[1];
  if (digits === undefined) throw invalidTar('a number in a header is not octal');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

/** The sum of all bytes, those of the checksum itself taken as spaces. */
function checksumOf(block: Buffer): number {
  const [start, length] = FIELD.checksum;
  let sum = 0;
  for (let index = 0; index < TAR_BLOCK_BYTES; index += 1) {
    sum += index >= start && index < start + length ? 0x20 : (block[index] ?? 0);
  }
  return sum;
}
