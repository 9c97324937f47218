import fc from 'fast-check';

import { PreheatFailure } from '../../domain/errors.js';
import { readPullProgress } from './pull-progress.js';

const NAME = `127.0.0.1:5051/preheat/0123456789abcdef@sha256:${'a'.repeat(64)}`;

function read(...chunks: readonly (string | Buffer)[]): Promise<string | undefined> {
  return readPullProgress(body(chunks), NAME);
}

async function* body(chunks: readonly (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield await Promise.resolve(Buffer.from(chunk));
}

async function failureOf(work: Promise<unknown>): Promise<PreheatFailure> {
  const error: unknown = await work.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PreheatFailure);
  return error as PreheatFailure;
}

describe('readPullProgress', () => {
  it('reads lines however they are cut', async () => {
    const line = '{"status":"Bild wird entpackt: ü","id":"x"}\r\n';
    const text = Buffer.from(`${line}\n${line}{"stream":"said at the end"}`);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(text.length)), async (cuts) => {
        const bounds = [0, ...cuts.sort((a, b) => a - b), text.length];
        const chunks = bounds.slice(1).map((end, index) => text.subarray(bounds[index], end));
        let signs = 0;
        const output = await readPullProgress(body(chunks), NAME, () => signs++);
        expect([output, signs]).toEqual(['said at the end', 3]);
      }),
    );
  });

  it('throws for an error inside the stream, whichever field it is in', async () => {
    const detail = await failureOf(read('{"errorDetail":{"message":"a"},"error":"b"}\n{"status":"more"}'));
    expect([detail.reason, detail.message]).toEqual(['runtime_error', 'Docker: a']);
    expect((await failureOf(read('{"error":"b"}'))).message).toBe('Docker: b');
  });

  it.each([
    ['no matching manifest for linux/amd64 in the manifest list entries', 'platform_not_supported'],
    ['no match for platform in manifest: not found', 'platform_not_supported'],
    ['image operating system "windows" cannot be used on this platform', 'platform_not_supported'],
    ['write /var/lib/docker/tmp/x: no space left on device', 'insufficient_disk'],
    ['failed to register layer: gzip: invalid checksum', 'runtime_error'],
  ])('knows what "%s" means', async (error, reason) => {
    expect((await failureOf(read(JSON.stringify({ error })))).reason).toBe(reason);
  });

  it('keeps the nonce, control characters and long texts out of the message', async () => {
    const error = `${NAME} is bad\r\nFATAL forged ${'x'.repeat(1000)}`;
    const { message } = await failureOf(read(JSON.stringify({ error })));
    expect(message).toMatch(/^Docker: the image@sha256:a+ is bad FATAL forged x+…$/);
    expect(message.length).toBeLessThan(320);
  });

  it.each([['not JSON'], ['[1]'], ['{"error":1}'], ['x'.repeat(100_000)]])('refuses %.20s', async (text) => {
    expect((await failureOf(read(text))).reason).toBe('runtime_error');
  });
});
