import { Readable } from 'node:stream';

import { z } from 'zod';

import { PeerError } from '../peer-error.js';
import { readJson } from './read-json.js';

const MIB = 1024 * 1024;
const limits = { maxBytes: 64 * 1024, maxValues: 500 };

describe('readJson', () => {
  const looked = { count: 0 };
  const schema = z.custom<object>(() => {
    looked.count += 1;
    return true;
  });
  const read = (text: string): Promise<object> => {
    looked.count = 0;
    return readJson(Readable.from([Buffer.from(text)]), schema, limits);
  };

  it('hands on what keeps to the limits', async () => {
    expect(await read('{"a":[1,2]}')).toEqual({ a: [1, 2] });
    expect(looked.count).toBe(1);
  });

  it.each([
    ['16 MiB of numbers', `[${'1,'.repeat(8 * MIB)}1]`],
    ['16 MiB of keys', `{${'"a":0,'.repeat(2 * MIB)}"b":1}`],
    ['as many bytes as may be of numbers', `[${'1,'.repeat(30_000)}1]`],
    ['as many bytes as may be of keys', `{${'"a":0,'.repeat(10_000)}"b":1}`],
    ['as many bytes as may be of brackets', '['.repeat(60_000)],
    ['no JSON', '<html>'],
    ['nothing', ''],
  ])('refuses %s before anybody looks into it', async (_, text) => {
    const error = await read(text).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(PeerError);
    expect(error).toMatchObject({ kind: 'http' });
    expect(looked.count).toBe(0);
  });
});
