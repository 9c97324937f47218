import { encodeTarHeader, tarPaddingOf } from '../../src/common/tar/tar-header.js';

/** The letter of a header's kind: of POSIX.1-2001 `x` and `g`; of GNU `L` and `K` (long names), and `S` (sparse). */
export type TarLetter = '0' | '2' | '5' | 'x' | 'g' | 'L' | 'K' | 'S';

/** One header with its data, as the bytes of a tar that is not ended yet. */
export function tarPart(letter: TarLetter, name: string, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  const header = encodeTarHeader(name, bytes.length);
  header.write(letter, 156, 'latin1');
  return Buffer.concat([withRightSums(header), bytes, Buffer.alloc(tarPaddingOf(bytes.length))]);
}

/** Records of a PAX header; `<length> <key>=<value>\n`, whose length counts itself. */
export function paxRecords(records: readonly (readonly [key: string, value: string])[]): Buffer {
  return Buffer.concat(
    records.map(([key, value]) => {
      const rest = Buffer.from(` ${key}=${value}\n`);
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length += 1;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
}

/** The tar that these parts make. */
export function endedTar(parts: readonly Buffer[]): Buffer {
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

/** Mends the checksums of all headers in place, so that mutations get past them. */
export function withRightSums(tar: Buffer): Buffer {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
    const block = tar.subarray(at, at + 512);
    const sum = block.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return tar;
}
