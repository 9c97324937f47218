import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';

import { Logger } from '@nestjs/common';
import fc from 'fast-check';

import { MAX_BLOB_BYTES } from '../../src/domain/chunk-map.js';
import { PreheatFailure } from '../../src/domain/errors.js';
import {
  attestationsOf,
  parseImageConfig,
  parseManifest,
  selectManifest,
} from '../../src/domain/manifest.js';
import { decodeRecord, encodeRecord, type LockRecord } from '../../src/lock/record.js';
import { readJson } from '../../src/peers/client/read-json.js';
import { PeerError } from '../../src/peers/peer-error.js';
import { helloAnswerSchema } from '../../src/peers/session/session-wire.js';
import { availabilityLimits } from '../../src/peers/wire/answer-limits.js';
import {
  availabilityAnswerSchema,
  decodeAvailability,
  encodeAvailability,
} from '../../src/peers/wire/availability-wire.js';
import { runtimeAnswerSchema } from '../../src/peers/wire/runtime-wire.js';
import { parseDockerConfig } from '../../src/registry/auth/docker-config.js';
import { readPullProgress } from '../../src/runtime/docker/pull-progress.js';
import { formatCatalog, parseCatalog } from '../../src/store/catalog-image.js';
import { formatChunkHashes, parseChunkHashes } from '../../src/store/chunk-hashes.js';
import { coded, fuzz } from '../support/fuzz.js';
import { mutatedBytes, mutatedJson } from '../support/mutations.js';
import { TINY_PLATFORM, tinyImage } from '../support/tiny-image.js';

const FUZZ_MS = 300_000;
const KIB = 1024;

describe('Readers of documents that others wrote', () => {
  const image = tinyImage();

  beforeAll(() => {
    Logger.overrideLogger(false);
  });

  it(
    'read manifests, indexes and configs, or refuse them with a code',
    async () => {
      const manifest: unknown = JSON.parse(image.manifestBytes.toString());
      const index = {
        schemaVersion: 2,
        manifests: [
          {
            mediaType: image.manifest.mediaType,
            digest: `sha256:${'1'.repeat(64)}`,
            size: 500,
            platform: TINY_PLATFORM,
          },
          {
            mediaType: image.manifest.mediaType,
            digest: `sha256:${'2'.repeat(64)}`,
            size: 500,
            annotations: {
              'vnd.docker.reference.type': 'attestation-manifest',
              'vnd.docker.reference.digest': `sha256:${'1'.repeat(64)}`,
            },
          },
        ],
      };
      const config: unknown = JSON.parse(image.config.toString());
      const texts = fc.oneof(mutatedJson(manifest), mutatedJson(index), mutatedJson(config));
      await fuzz('manifests', texts, async (text) => {
        const parsed = await coded(() => parseManifest(Buffer.from(text)));
        if (parsed?.kind === 'index') {
          await coded(() => selectManifest(parsed, TINY_PLATFORM));
          attestationsOf(parsed, `sha256:${'1'.repeat(64)}`);
        }
        await coded(() => parseImageConfig(Buffer.from(text)));
      });
    },
    FUZZ_MS,
  );

  it(
    'read what peers say, or refuse it as a failure of the peer',
    async () => {
      const digest = `sha256:${'a'.repeat(64)}` as const;
      const identity = { node: 'n', instance: '0'.repeat(32), platform: 'linux/amd64', protocol: 1 };
      const blob = {
        size: 3 * KIB * KIB,
        complete: false,
        chunks: 'Bw==',
        chunkHashes: ['', 'f'.repeat(64), ''],
        origin: { state: 'reading', key: 'k' },
        swarm: ['n'],
        derived: { digest, size: 5 },
        hashes: { '1': 'f'.repeat(64) },
        sent: 'AQ==',
      };
      const answer = { ...identity, blobs: { [digest]: blob }, participants: ['10.0.0.1:80'] };
      const hello = { ...identity, nonce: 'A'.repeat(43), proofs: ['A'.repeat(43)] };
      const runtime = { images: ['a'], holdings: { a: { config: digest, manifest: digest } } };
      const asked = [{ digest, size: MAX_BLOB_BYTES }];
      const limits = availabilityLimits(asked);
      const asPeer = async (text: string, schema: Parameters<typeof readJson>[1]): Promise<unknown> => {
        try {
          return await readJson(Readable.from([Buffer.from(text)]), schema, limits);
        } catch (error) {
          expect(error).toBeInstanceOf(PeerError);
          return undefined;
        }
      };
      await fuzz('availability', mutatedJson(answer), async (text) => {
        const said = (await asPeer(text, availabilityAnswerSchema)) as
          ReturnType<typeof availabilityAnswerSchema.parse> | undefined;
        if (said) encodeAvailability(decodeAvailability(said, asked), { [digest]: 'Bw==' });
      });
      await fuzz('hellos', mutatedJson(hello), async (text) => {
        await asPeer(text, helloAnswerSchema);
      });
      await fuzz('runtimes', mutatedJson(runtime), async (text) => {
        await asPeer(text, runtimeAnswerSchema);
      });
    },
    FUZZ_MS,
  );

  it(
    'take a record for what it says only with a right MAC, and never fail',
    async () => {
      const key = randomBytes(32);
      const record: LockRecord = {
        v: 1,
        image: 'docker.io/library/app:v1',
        platform: 'linux/amd64',
        digest: `sha256:${'a'.repeat(64)}`,
        origin: 'registry',
        resolvedAt: 1,
        holder: { node: 'n', instance: 'i', address: '10.0.0.1:80', term: 1, renewals: 2 },
        failure: { code: 'not_found', attempt: 1, retryAfterMs: 5 },
      };
      const sealed = encodeRecord('k', record, key);
      await fuzz(
        'records',
        fc.oneof(mutatedJson(JSON.parse(sealed)), mutatedBytes(Buffer.from(sealed)).map(String)),
        (text) => {
          const decoded = decodeRecord('k', text, [key]);
          if (decoded.kind === 'record') expect(text).toBe(sealed);
          const open = decodeRecord('k', text, undefined);
          if (open.kind === 'record') encodeAgain(open.record);
        },
      );
      expect(decodeRecord('another', sealed, [key]).kind).toBe('untrusted');
    },
    FUZZ_MS,
  );

  it(
    'read the store’s own files, or take them for absent',
    async () => {
      const hashes = formatChunkHashes(3 * KIB * KIB, ['a'.repeat(64), undefined, 'b'.repeat(64)]);
      const digest = `sha256:${'a'.repeat(64)}` as const;
      const entry = {
        image: 'a',
        platform: 'linux/amd64',
        root: digest,
        blobs: [{ digest, size: 1 }],
        mediaType: 'm',
        size: 1,
        lastUsedMs: 1,
      };
      await fuzz(
        'chunk hashes',
        mutatedJson(JSON.parse(hashes)),
        (text) => void parseChunkHashes(text, 3 * KIB * KIB),
      );
      await fuzz(
        'catalogs',
        mutatedJson(JSON.parse(formatCatalog([entry]))),
        (text) => void formatCatalog(parseCatalog(text)),
      );
    },
    FUZZ_MS,
  );

  it(
    'read Docker’s configuration and progress, or refuse them without repeating them',
    async () => {
      const config = {
        auths: { 'a.test': { auth: 'c2VjcmV0OnNlY3JldA==' } },
        credHelpers: { 'b.test': 'helper' },
        credsStore: 's',
      };
      await fuzz('config.json', mutatedJson(config), (text) => {
        try {
          parseDockerConfig(text);
        } catch (error) {
          expect((error as Error).message).toMatch(/^it is not/);
        }
      });
      const progress = {
        status: 'Pulling',
        progressDetail: { current: 1, total: 2 },
        id: 'a',
        errorDetail: { message: 'no' },
      };
      await fuzz('progress', fc.array(mutatedJson(progress), { maxLength: 4 }), async (lines) => {
        await coded(() =>
          readPullProgress(Readable.from([Buffer.from(lines.join('\n'))]) as AsyncIterable<Buffer>, 'a'),
        );
      });
    },
    FUZZ_MS,
  );
});

/** What came without a MAC may hold anything deep inside; what is written of it is refused with a code, or written. */
function encodeAgain(record: LockRecord): void {
  try {
    encodeRecord('k', record, undefined);
  } catch (error) {
    expect(error).toBeInstanceOf(PreheatFailure);
  }
}
