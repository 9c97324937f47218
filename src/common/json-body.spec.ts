import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

import { readJsonBody } from './json-body.js';

const MAX_BYTES = 100;

function requestOf(
  body: string | Buffer,
  headers: IncomingMessage['headers'] = {
    'content-type': 'application/json',
    'transfer-encoding': 'chunked',
  },
): IncomingMessage {
  const pieces = Buffer.from(body);
  return Object.assign(Readable.from([pieces.subarray(0, 3), pieces.subarray(3)], { objectMode: false }), {
    headers,
  }) as unknown as IncomingMessage;
}
const read = (...of: Parameters<typeof requestOf>): Promise<unknown> =>
  readJsonBody(requestOf(...of), MAX_BYTES);

describe('readJsonBody', () => {
  it('reads what comes in pieces', async () => {
    expect(await read('{"a":["é"]}')).toEqual({ a: ['é'] });
  });

  it('leaves alone what is no JSON by its type, and no body', async () => {
    expect(await read('{}', { 'content-type': 'text/plain', 'content-length': '2' })).toBeUndefined();
    expect(await read('{}', { 'content-length': '2' })).toBeUndefined();
    expect(await read('', { 'content-type': 'application/json' })).toBeUndefined();
    const utf8 = { 'content-type': 'application/json; charset=utf-8', 'content-length': '2' };
    expect(await read('{}', utf8)).toEqual({});
  });

  it.each([
    ['no JSON', 'what?'],
    ['cut short', '{"a":'],
    ['no object', '"x"'],
    ['null', 'null'],
    ['closed, but nested too deep', '{"a":'.repeat(10) + '['.repeat(100) + ']'.repeat(100) + '}'.repeat(10)],
  ])('refuses what is %s', async (_what, body) => {
    const request = requestOf(body);
    await expect(readJsonBody(request, 1000)).rejects.toMatchObject({ status: 400 });
  });

  it('refuses more values than any question has', async () => {
    const body = `[${'1,'.repeat(9_998)}1]`;
    await expect(readJsonBody(requestOf(body), 100_000)).resolves.toHaveLength(9_999);
    await expect(readJsonBody(requestOf(body.replace('[', '[1,1,')), 100_000)).rejects.toMatchObject({
      status: 400,
    });
  });

  it('refuses what says that it is too large before it reads a byte', async () => {
    const request = requestOf('', {
      'content-type': 'application/json',
      'content-length': String(MAX_BYTES + 1),
    });
    const reads = jest.spyOn(request, 'iterator');
    await expect(readJsonBody(request, MAX_BYTES)).rejects.toMatchObject({ status: 413 });
    expect(reads).not.toHaveBeenCalled();
  });

  it('refuses what is too large, and leaves the connection for the answer', async () => {
    const request = requestOf(JSON.stringify('x'.repeat(MAX_BYTES)));
    await expect(readJsonBody(request, MAX_BYTES)).rejects.toMatchObject({ status: 413 });
    expect(request.destroyed).toBe(false);
  });

  it('refuses what is compressed, or in other characters', async () => {
    const headers = { 'content-type': 'application/json', 'content-length': '2' };
    const forms = [{ 'content-encoding': 'gzip' }, { 'content-type': 'application/json; charset=utf-16' }];
    for (const form of forms)
      await expect(read('{}', { ...headers, ...form })).rejects.toMatchObject({ status: 415 });
  });

  it('fails as its connection does', async () => {
    const request = requestOf('{}');
    const reading = readJsonBody(request, MAX_BYTES);
    request.destroy(new Error('gone'));
    await expect(reading).rejects.toThrow('gone');
  });
});
