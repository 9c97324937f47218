import fc from 'fast-check';

import type { ImageList } from './image-list.js';
import { parseImageList } from './parse-image-list.js';

const NODE = { os: 'linux', architecture: 'amd64' };
const DIGEST = `sha256:${'a'.repeat(64)}`;
const NGINX = 'docker.io/library/nginx:latest';

function parse(text: string | Uint8Array): ImageList {
  return parseImageList(typeof text === 'string' ? Buffer.from(text) : text, NODE);
}
const imagesOf = (text: string | Uint8Array): string[] => parse(text).entries.map(({ image }) => image);

describe('parseImageList', () => {
  it('reads a plain list, skipping blank lines and comments', () => {
    const list = parse(
      `# warm\n\nnginx\n  redis:7 # cache\n\t\nlocalhost:5000/app@${DIGEST}\nghcr.io/a/b:1@${DIGEST}`,
    );
    expect(list.invalidLines).toEqual([]);
    expect(list.entries.map(({ image, line }) => [image, line])).toEqual([
      [NGINX, 3],
      ['docker.io/library/redis:7', 4],
      [`localhost:5000/app@${DIGEST}`, 6],
      [`ghcr.io/a/b:1@${DIGEST}`, 7],
    ]);
    expect(list.entries[0]).toEqual({
      image: NGINX,
      reference: { registry: 'docker.io', repository: 'library/nginx', tag: 'latest' },
      platform: NODE,
      priority: 0,
      line: 3,
    });
  });

  it('reads the keys and puts higher priorities first, else in the order of the file', () => {
    const { entries } = parse(
      'a\nb priority=5\nc priority=-1\nd platform=linux/arm64/v8 timeout=1m30s priority=+5#x\ne',
    );
    expect(entries).toHaveLength(4);
    const list = parse(
      'a\nb priority=5\nc priority=-1\nd platform=linux/arm64/v8 timeout=1m30s priority=+5 #x\ne',
    );
    expect(list.entries.map(({ reference }) => reference.repository.slice(8))).toEqual([
      'b',
      'd',
      'a',
      'e',
      'c',
    ]);
    expect(list.entries[1]).toMatchObject({
      platform: { os: 'linux', architecture: 'arm64' },
      timeoutMs: 90_000,
    });
  });

  it('has each image once per platform, and says where keys were passed over', () => {
    const list = parse(
      `nginx\ndocker.io/nginx:latest\nnginx platform=linux/arm64\nindex.docker.io/library/nginx priority=1`,
    );
    expect(list.entries.map(({ line }) => line)).toEqual([1, 3]);
    expect(list.warnings).toEqual([
      {
        line: 4,
        text: 'index.docker.io/library/nginx priority=1',
        reason: 'the same image stands in line 1 with other keys; that line counts',
      },
    ]);
  });

  it('warns about an unknown key and keeps the image', () => {
    const list = parse('nginx refresh=always');
    expect(list.entries).toHaveLength(1);
    expect(list.warnings[0]).toMatchObject({
      line: 1,
      reason: expect.stringContaining('unknown key "refresh"') as string,
    });
  });

  it.each([
    ['../../etc/passwd', 'is not an image reference'],
    ['Nginx', 'lower-case'],
    ['reg.example:99999/app', 'port'],
    ['nginx@sha256:abc', 'digest'],
    ['nginx:', 'tag'],
    ['a'.repeat(5_000), 'characters'],
    ['nginx#1', 'is not an image reference'],
    ['nginx latest', '"latest" is not key=value'],
    ['nginx priority', '"priority" is not key=value'],
    ['nginx priority=', 'is not key=value'],
    ['nginx =1', 'is not key=value'],
    ['nginx priority=1 priority=2', '"priority" is given twice'],
    ['nginx priority=high', 'is not a priority'],
    ['nginx priority=1e9', 'is not a priority'],
    ['nginx platform=arm64', 'is not a platform'],
    ['nginx timeout=5', 'is not a duration'],
    ['nginx timeout=0', 'is not a timeout'],
    ['nginx timeout=999999h', 'is not a timeout'],
  ])('reports line %j alone', (bad, reason) => {
    const list = parse(`redis\n${bad}\nnginx`);
    expect(list.entries.map(({ line }) => line)).toEqual([1, 3]);
    expect(list.invalidLineCount).toBe(1);
    expect(list.invalidLines).toEqual([
      { line: 2, text: expect.any(String) as string, reason: expect.stringContaining(reason) as string },
    ]);
    expect(list.invalidLines[0]!.text.length).toBeLessThan(250);
  });

  it('takes CRLF and a byte order mark, and only at the beginning', () => {
    expect(imagesOf('\uFEFFnginx\r\nredis\r\n')).toEqual([NGINX, 'docker.io/library/redis:latest']);
    expect(parse('nginx\n\uFEFFredis').invalidLines[0]).toMatchObject({ line: 2, text: '\\u{feff}redis' });
  });

  it('reports lines that are not UTF-8', () => {
    const list = parse(
      Buffer.concat([Buffer.from('nginx\nre'), Buffer.from([0xff, 0xfe]), Buffer.from('dis\nbusybox')]),
    );
    expect(list.entries).toHaveLength(2);
    expect(list.invalidLines[0]).toMatchObject({ line: 2, reason: 'the line is not UTF-8' });
  });

  it('shows no control characters and no credentials', () => {
    const { invalidLines } = parse('evil\u001b[2J\u0000\u202e:x\nhttps://me:s3cret@reg.example/app');
    expect(invalidLines).toHaveLength(2);
    expect(JSON.stringify(invalidLines)).not.toMatch(/[\p{Cc}\p{Cf}]|s3cret/u);
    expect(invalidLines[0]!.text).toBe('evil\\u{1b}[2J\\u{0}\\u{202e}:x');
  });

  it('bounds what it reports and keeps', () => {
    const bad = parse('A\n'.repeat(5_000));
    expect([bad.invalidLineCount, bad.invalidLines.length]).toEqual([5_000, 1_000]);
    const many = parse(Array.from({ length: 10_002 }, (_, index) => `app-${index}`).join('\n'));
    expect([many.entries.length, many.invalidLineCount]).toEqual([10_000, 2]);
  });

  it('never throws, and counts every line once', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'nginx',
        'a/b:1',
        `x@${DIGEST}`,
        '#',
        'priority=1',
        'platform=linux/arm64',
        'timeout=1s',
        '=',
        '\r',
        '\t',
        ' ',
        '\n',
      ),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.array(word).map((words) => Buffer.from(words.join(''))),
        ),
        (bytes) => {
          const list = parse(bytes);
          const lines = Buffer.from(bytes).toString('latin1').split('\n').length;
          expect(list.entries.length + list.invalidLineCount).toBeLessThanOrEqual(lines);
          for (const { line } of [...list.entries, ...list.invalidLines])
            expect(line <= lines && line >= 1).toBe(true);
        },
      ),
    );
  });
});
