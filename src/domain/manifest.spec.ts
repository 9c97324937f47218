import fc from 'fast-check';

import { digestOf } from './digest.js';
import { PreheatFailure } from './errors.js';
import {
  attestationsOf,
  deriveManifest,
  type ImageIndex,
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  parseImageConfig,
  parseManifest,
  selectManifest,
} from './manifest.js';
import { parsePlatform } from './platform.js';

const DIGESTS = Array.from({ length: 6 }, (_, index) => digestOf(Buffer.from([index])));
const [D0, D1, D2, D3, D4] = DIGESTS as [string, string, string, string, string, string];
const bytes = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document));
const descriptor = (digest: string, extra: object = {}): object => ({
  mediaType: MEDIA_TYPES.ociManifest,
  digest,
  size: 7,
  ...extra,
});
const platform = (text: string): object => ({ platform: parsePlatform(text) });
const MANIFEST = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.dockerManifest,
  config: descriptor(D0, { mediaType: MEDIA_TYPES.ociConfig }),
  layers: [descriptor(D1, { mediaType: MEDIA_TYPES.ociLayer })],
};
const index = (...manifests: object[]): ImageIndex =>
  parseManifest(bytes({ schemaVersion: 2, manifests })) as ImageIndex;

function failureOf(work: () => unknown): PreheatFailure {
  try {
    work();
  } catch (error) {
    if (error instanceof PreheatFailure) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('parseManifest', () => {
  it('reads a manifest of Docker and of OCI, the latter without a media type too', () => {
    expect(parseManifest(bytes(MANIFEST))).toMatchObject({
      kind: 'manifest',
      mediaType: MEDIA_TYPES.dockerManifest,
      config: { digest: D0, size: 7 },
      layers: [{ digest: D1 }],
    });
    expect(parseManifest(bytes({ ...MANIFEST, mediaType: undefined }))).toMatchObject({
      mediaType: MEDIA_TYPES.ociManifest,
    });
  });

  it.each([
    ['330,000 annotations', 330_000],
    ['as many annotations as may be', 90_000],
  ])('refuses %s that are none with a code, and one reason', (_, count) => {
    const annotations = Object.fromEntries(Array.from({ length: count }, (__, at) => [at.toString(36), 0]));
    const failure = failureOf(() => index(descriptor(D2, { annotations })));
    expect(failure).toMatchObject({ reason: 'registry_error' });
    expect(failure.message).toMatch(/ (it has more than 100000 values|manifests\.0\.annotations: [^:]+)$/);
  });

  it.each(['layers', 'manifests'])('refuses too many %s, whatever they are', (name) => {
    const document = { config: descriptor(D0), [name]: Array.from({ length: 50_000 }, () => 1) };
    const failure = failureOf(() => parseManifest(bytes(document)));
    expect(failure.message).toMatch(new RegExp(`${name}: .*1024`));
  });

  it('reads an index and keeps platform and annotations', () => {
    const entry = descriptor(D2, {
      platform: { os: 'linux', architecture: 'arm', variant: 'v7', 'os.version': '1' },
      annotations: { a: 'b' },
    });
    expect(index(entry)).toEqual({
      kind: 'index',
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [
        {
          mediaType: MEDIA_TYPES.ociManifest,
          digest: D2,
          size: 7,
          platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
          annotations: { a: 'b' },
        },
      ],
    });
  });

  it.each<[string, Uint8Array]>([
    ['no JSON', Buffer.from('<html>')],
    ['nothing', Buffer.alloc(0)],
    ['null', bytes(null)],
    ['a list', bytes([])],
    ['Docker schema 1', bytes({ schemaVersion: 1, name: 'a', fsLayers: [] })],
    ['both kinds at once', bytes({ ...MANIFEST, manifests: [] })],
    ['an unknown media type', bytes({ ...MANIFEST, mediaType: 'text/plain' })],
    ['an index that says it is a manifest', bytes({ mediaType: MEDIA_TYPES.ociManifest, manifests: [] })],
    ['another digest algorithm', bytes({ ...MANIFEST, config: descriptor('sha512:00') })],
    ['a path for a digest', bytes({ ...MANIFEST, config: descriptor('sha256:../../etc/passwd') })],
    ['a negative size', bytes({ ...MANIFEST, config: descriptor(D0, { size: -1 }) })],
    ['half a byte', bytes({ ...MANIFEST, config: descriptor(D0, { size: 0.5 }) })],
    ['a size beyond counting', bytes({ ...MANIFEST, config: descriptor(D0, { size: 2 ** 60 }) })],
    ['too many layers', bytes({ ...MANIFEST, layers: Array.from({ length: 1025 }, () => descriptor(D1)) })],
    ['too many bytes', Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' ')],
    ['a tower of brackets', Buffer.alloc(MAX_MANIFEST_BYTES, '[')],
  ])('refuses %s', (_what, document) => {
    expect(failureOf(() => parseManifest(document)).reason).toBe('registry_error');
  });

  it('takes no blob above 1 TiB: what is kept per chunk would fill any memory', () => {
    const sized = (size: number): Uint8Array =>
      bytes({ ...MANIFEST, layers: [{ ...descriptor(D1, { mediaType: MEDIA_TYPES.ociLayer }), size }] });
    expect(parseManifest(sized(2 ** 40)).kind).toBe('manifest');
    for (const size of [2 ** 40 + 1, Number.MAX_SAFE_INTEGER])
      expect(failureOf(() => parseManifest(sized(size)))).toMatchObject({ reason: 'registry_error' });
  });

  it('does not repeat what a stranger wrote', () => {
    const { message } = failureOf(() => parseManifest(bytes({ ...MANIFEST, config: descriptor('s3cret') })));
    expect(message).not.toContain('s3cret');
  });

  it('throws nothing but PreheatFailure', () => {
    const keys = fc.constantFrom(
      'mediaType',
      'manifests',
      'layers',
      'config',
      'size',
      'digest',
      'platform',
      '__proto__',
    );
    const document = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.jsonValue(),
        fc.constantFrom(...DIGESTS),
        tie('object'),
        fc.array(tie('value')),
      ),
      object: fc.dictionary(keys, tie('value')),
    })).object;
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), document.map(bytes)), (input) => {
        for (const parse of [parseManifest, parseImageConfig]) {
          try {
            parse(input);
          } catch (error) {
            expect(error).toBeInstanceOf(PreheatFailure);
          }
        }
      }),
    );
  });
});

describe('selectManifest', () => {
  const node = parsePlatform('linux/amd64');

  it('takes the best entry for the platform, and no attestation', () => {
    const list = index(
      descriptor(D0, platform('linux/arm64')),
      descriptor(D1, {
        ...platform('linux/amd64'),
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
      }),
      descriptor(D2, platform('linux/amd64/v2')),
      descriptor(D3, platform('linux/amd64')),
    );
    expect(selectManifest(list, node).digest).toBe(D3);
    expect(selectManifest(list, parsePlatform('linux/amd64/v2')).digest).toBe(D2);
  });

  it('takes the only entry when that has no platform', () => {
    expect(selectManifest(index(descriptor(D0)), node).digest).toBe(D0);
    expect(failureOf(() => selectManifest(index(descriptor(D0), descriptor(D1)), node)).reason).toBe(
      'platform_not_supported',
    );
  });

  it('says what there is when nothing suits', () => {
    const failure = failureOf(() => selectManifest(index(descriptor(D0, platform('linux/arm64'))), node));
    expect(failure.reason).toBe('platform_not_supported');
    expect(failure.message).toBe('the image has no manifest for linux/amd64; it offers linux/arm64');
  });
});

describe('attestationsOf', () => {
  it('finds those of one manifest', () => {
    const of = (subject: string): object => ({
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': subject,
      },
    });
    const list = index(descriptor(D0), descriptor(D1, of(D0)), descriptor(D2, of(D3)), descriptor(D4));
    expect(attestationsOf(list, DIGESTS[0]!).map(({ digest }) => digest)).toEqual([D1]);
  });
});

describe('parseImageConfig', () => {
  it('reads the diffIDs and the platform', () => {
    const config = {
      os: 'linux',
      architecture: 'arm',
      variant: 'v7',
      rootfs: { type: 'layers', diff_ids: [D1, D2] },
    };
    expect(parseImageConfig(bytes(config))).toEqual({
      diffIds: [D1, D2],
      platform: parsePlatform('linux/arm/v7'),
    });
    expect(parseImageConfig(bytes({ rootfs: { diff_ids: [] } }))).toEqual({ diffIds: [] });
  });
});

describe('deriveManifest', () => {
  it('is the same bytes for the same content, and reads as a manifest', () => {
    const make = (): Uint8Array =>
      deriveManifest({ digest: DIGESTS[0]!, size: 3 }, [{ digest: DIGESTS[1]!, size: 5 }]);
    expect(digestOf(make())).toBe(digestOf(make()));
    expect(parseManifest(make())).toMatchObject({
      mediaType: MEDIA_TYPES.ociManifest,
      config: { digest: D0, size: 3 },
      layers: [{ digest: D1, size: 5, mediaType: MEDIA_TYPES.ociLayer }],
    });
  });
});
