import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

import fc from 'fast-check';

import { TarEndCheck } from './tar-end-check.js';

const CONTENT = Buffer.concat([Buffer.alloc(3000, 1), Buffer.alloc(600), Buffer.alloc(500, 2)]);

async function check(content: Buffer, cuts: readonly number[] = []): Promise<Buffer> {
  const bounds = [0, ...[...cuts].sort((a, b) => a - b), content.length];
  const chunks = bounds.slice(1).map((end, index) => content.subarray(bounds[index], end));
  const tar = new TarEndCheck();
  const [passed] = await Promise.all([buffer(tar), pipeline(Readable.from(chunks), tar)]);
  return passed;
}

describe('TarEndCheck', () => {
  it('passes a whole tar through, however it is cut', async () => {
    const whole = Buffer.concat([CONTENT, Buffer.alloc(1024)]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(whole.length)), async (cuts) => {
        expect((await check(whole, cuts)).equals(whole)).toBe(true);
      }),
    );
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['no end', CONTENT],
    ['half an end', Buffer.concat([CONTENT, Buffer.alloc(1023)])],
    ['an error after the tar', Buffer.concat([CONTENT, Buffer.alloc(1024), Buffer.from('{"error":"x"}')])],
  ])('breaks off with %s', async (_what, content) => {
    await expect(check(content)).rejects.toThrow('in the middle of the image');
  });
});
