import { gzipSync } from 'node:zlib';

import fc from 'fast-check';

/** A route as the API's own document names it, or the router. */
export interface KnownRoute {
  readonly method: string;
  /** `{name}` and `*name` stand for anything. */
  readonly path: string;
}

export interface BadRequest {
  readonly method: string;
  /** What stands in the request line. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'];
const REFERENCES = [
  '../../etc/passwd',
  'a@sha256:abc',
  '[::]:1/a',
  'localhost:0/a',
  '169.254.169.254/latest/meta-data',
  'http://127.0.0.1/a',
  'A/B:c',
  'a:b:c',
];
/** Anything a header's value may carry over a socket: bytes but for those that end it. */
const headerText = fc
  .string({ unit: 'binary-ascii', maxLength: 60 })
  .map((text) => text.replace(/[^\x20-\x7e]/g, ''));
const number = fc.oneof(fc.nat(), fc.constantFrom('-1', '', '00', '1e9', '9'.repeat(15), '9'.repeat(30)));
const range = fc.oneof(
  fc
    .tuple(fc.constantFrom('bytes', 'Bytes', 'chunks', ''), number, number)
    .map(([unit, a, b]) => `${unit}=${a}-${b}`),
  fc.array(fc.tuple(number, number), { maxLength: 200 }).map((parts) => {
    return `bytes=${parts.map(([a, b]) => `${a}-${b}`).join(',')}`;
  }),
  headerText,
);
const mediaType = fc.constantFrom(
  'application/json',
  'application/json; charset=utf-16',
  'application/json; charset=nonsense',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'text/plain',
  'application/vnd.api+json',
  '/',
);
const header = fc.oneof(
  fc.tuple(fc.constant('Range'), range),
  fc.tuple(fc.constant('Content-Type'), mediaType),
  fc.tuple(
    fc.constant('Content-Encoding'),
    fc.constantFrom('gzip', 'br', 'deflate', 'zstd', 'identity', 'gzip, gzip'),
  ),
  fc.tuple(
    fc.constantFrom(
      'Accept',
      'Accept-Encoding',
      'If-None-Match',
      'If-Range',
      'If-Modified-Since',
      'Cookie',
      'X-Forwarded-For',
      'X-Forwarded-Host',
      'X-HTTP-Method-Override',
      'Preheat-Node',
      'Preheat-Instance',
      'Upgrade',
      'Origin',
    ),
    headerText,
  ),
);

const unit = fc.constantFrom<'grapheme' | 'binary'>('grapheme', 'binary');
const text = unit.chain((which) => fc.string({ unit: which, maxLength: 80 }));

/** JSON near what routes take, and far from it. */
function documents(digests: readonly string[]): fc.Arbitrary<unknown> {
  const word = fc.oneof(text, fc.constantFrom(...digests, ...REFERENCES));
  const words = fc.oneof(fc.array(fc.oneof(word, fc.jsonValue()), { maxLength: 8 }), fc.jsonValue());
  const field = fc.constantFrom(
    'images',
    'digests',
    'known',
    'image',
    'nonce',
    'proof',
    'node',
    'instance',
    'address',
    'protocol',
    '__proto__',
    'constructor',
  );
  const known = fc.dictionary(
    fc.constantFrom(...digests, 'x'),
    fc.oneof(fc.base64String(), fc.jsonValue(), fc.string()),
  );
  return fc.oneof(
    fc.dictionary(field, fc.oneof(words, word, known)),
    fc.record({ digests: fc.array(fc.constantFrom(...digests), { maxLength: 20 }), known }),
    fc.record({ images: fc.array(word, { maxLength: 20 }) }),
    fc.jsonValue(),
  );
}

function bodies(digests: readonly string[]): fc.Arbitrary<Buffer> {
  const json = documents(digests).map((document) => Buffer.from(JSON.stringify(document)));
  return fc.oneof(
    { weight: 6, arbitrary: json },
    { weight: 2, arbitrary: fc.constant(Buffer.alloc(0)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
    { weight: 1, arbitrary: json.map((bytes) => gzipSync(bytes)) },
    { weight: 1, arbitrary: fc.nat(20_000).map((depth) => Buffer.from('['.repeat(depth))) },
    {
      weight: 1,
      arbitrary: fc.nat(20_000).map((depth) => Buffer.from(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)),
    },
    { weight: 1, arbitrary: fc.nat(3).map((mib) => gzipSync(Buffer.alloc(mib * 1024 * 1024, ' '))) },
  );
}

/** Paths of a known route, with right and wrong things in its place-holders, and spelled as no client would. */
function targets(routes: readonly KnownRoute[], digests: readonly string[], image: string) {
  const piece = fc.oneof(
    fc.constantFrom(...digests),
    fc.constantFrom('..', '%2e%2e', '%00', '%', '%zz', '%E0%A4%A', '~', ';', '//', '\\', 'preheat'),
    text.map(encodeURIComponent),
  );
  const v2 = fc
    .tuple(
      fc.constantFrom('team/app', 'preheat', '..', 'A', 'a//b', ''),
      fc.constantFrom('manifests', 'blobs', 'referrers', 'tags', 'uploads'),
      piece,
    )
    .map((parts) => `/v2/${parts.join('/')}`);
  const known = fc.tuple(fc.constantFrom(...routes), piece).map(([{ path }, value]) =>
    // Not as the second argument: `$&` in it would mean something.
    path.replace(/\{[^}]+\}|\*\w+/g, () => value),
  );
  const query = fc
    .array(
      fc.tuple(
        fc.constantFrom('image', 'ns', 'n', 'last', 'image[]', 'image[a]', '__proto__'),
        fc.oneof(fc.constantFrom(image, ...REFERENCES), text).map(encodeURIComponent),
      ),
      { maxLength: 3 },
    )
    .map((pairs) => pairs.map((pair) => pair.join('=')).join('&'));
  const spelling = fc.constantFrom<(path: string) => string>(
    (path) => path,
    (path) => path,
    (path) => path,
    (path) => path.toUpperCase(),
    (path) => `${path}/`,
    (path) => `/${path}`,
    (path) => `/.${path}`,
    (path) => `/x/..${path}`,
    (path) => `http://elsewhere.test${path}`,
    (path) => `http://elsewhere.test:99999${path}`,
    (path) => `https://[${path}`,
    (path) => path.replace(/\w/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
    (path) => `${path}${'/a'.repeat(2_000)}`,
    (path) => path.slice(1),
  );
  return fc
    .tuple(fc.oneof({ weight: 3, arbitrary: known }, { weight: 2, arbitrary: v2 }), query, spelling)
    .map(([path, parameters, spell]) => `${spell(path)}${parameters === '' ? '' : `?${parameters}`}`);
}

/** Requests that no well-meaning client sends, or nearly none. */
export function badRequests(
  routes: readonly KnownRoute[],
  digests: readonly string[],
  image: string,
): fc.Arbitrary<BadRequest> {
  return fc.record({
    method: fc.oneof(fc.constantFrom(...METHODS), fc.constantFrom(...routes.map(({ method }) => method))),
    target: targets(routes, digests, image),
    headers: fc.array(header, { maxLength: 5 }),
    body: bodies(digests),
  });
}

/** As it goes over the wire. A body without a length would be taken for the next request, so it has one. */
export function encodeRequest({ method, target, headers, body }: BadRequest, authorization?: string): Buffer {
  const lines = [
    `${method} ${target} HTTP/1.1`,
    'Host: agent.test',
    'Connection: close',
    ...(headers.some(([name]) => name === 'Content-Type') ? [] : ['Content-Type: application/json']),
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(authorization === undefined ? [] : [`Authorization: ${authorization}`]),
    `Content-Length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}
