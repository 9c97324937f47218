import { Logger } from '@nestjs/common';

import { tinyImage } from '../../test/support/tiny-image.js';
import { wantedImage } from '../../test/support/wanted-image.js';
import { type Digest, digestOf } from '../domain/digest.js';
import type { LockService } from '../lock/lock.service.js';
import type { RuntimeImage } from '../runtime/image-runtime.js';
import type { BlobStore } from '../store/blob-store.js';
import type { ImageCatalog } from '../store/image-catalog.js';
import { DriftCheck, type Meaning } from './drift-check.js';
import type { StatusStore } from './status.store.js';

const TAG = wantedImage('registry.example/app:1');
const image = tinyImage();
const manifest = digestOf(image.manifestBytes);
const indexBytes = (architecture: string): Buffer =>
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          mediaType: image.manifest.mediaType,
          digest: manifest,
          size: image.manifestBytes.length,
          platform: { os: 'linux', architecture },
        },
      ],
    }),
  );
const index = digestOf(indexBytes('amd64'));
const OTHER = digestOf(Buffer.from('another image'));

beforeAll(() => {
  Logger.overrideLogger(false);
});

describe('DriftCheck', () => {
  let stored: Map<Digest, Buffer>;
  let recorded: Digest | undefined;
  let shown: string | undefined;
  let catalogued: Digest | undefined;
  let readFailure: Error | undefined;

  beforeEach(() => {
    stored = new Map([...image.blobs, [index, indexBytes('amd64')]]);
    recorded = index;
    shown = catalogued = readFailure = undefined;
  });

  function meaningOf(found: RuntimeImage, wanted = TAG): Promise<Meaning> {
    const store: Partial<BlobStore> = {
      readBytes: (digest) =>
        readFailure ? Promise.reject(readFailure) : Promise.resolve(stored.get(digest)),
    };
    const catalog = { find: () => catalogued && { root: catalogued } };
    const lock = { known: () => ({ digest: recorded }) };
    const status = { get: () => ({ digest: shown }) };
    return new DriftCheck(
      store as BlobStore,
      catalog as unknown as ImageCatalog,
      lock as unknown as LockService,
      status as unknown as StatusStore,
    ).meaningOf(wanted, found);
  }

  const classic = (id: Digest): RuntimeImage => ({ id });
  const byManifest = (digest: Digest): RuntimeImage => ({ id: digest, digest });

  it.each([
    ['the very digest of the record', byManifest(index), false],
    ['the manifest of the recorded index', byManifest(manifest), false],
    ['another digest', byManifest(OTHER), true],
    ['the config that the record leads to', classic(image.manifest.config.digest), false],
    ['another config', classic(OTHER), true],
  ])('tells drift by the record: the runtime has %s', async (_what, found, drift) => {
    expect(await meaningOf(found)).toEqual({ digest: index, drift });
  });

  it('goes by the record, though this node got the image when the tag meant something else', async () => {
    [shown, catalogued] = [manifest, manifest];
    recorded = OTHER;
    expect(await meaningOf(byManifest(manifest))).toEqual({ digest: OTHER, drift: true });
  });

  it('goes by what this node got itself where it has read no record', async () => {
    recorded = undefined;
    catalogued = index;
    expect(await meaningOf(classic(OTHER))).toEqual({ digest: index, drift: true });
    shown = manifest;
    expect(await meaningOf(byManifest(manifest))).toEqual({ digest: manifest, drift: false });
  });

  it('goes by the digest of an entry that has one, whatever else is recorded', async () => {
    const entry = wantedImage(`registry.example/app@${OTHER}`);
    expect(await meaningOf(byManifest(OTHER), entry)).toEqual({ digest: OTHER, drift: false });
  });

  it('says nothing about what it cannot know without asking: no manifest here, nothing known at all', async () => {
    stored.clear();
    expect(await meaningOf(classic(OTHER))).toEqual({ digest: index });
    recorded = undefined;
    expect(await meaningOf(classic(OTHER))).toEqual({});
  });

  it('takes an index without this platform, or a store that cannot be read, for not known', async () => {
    const foreign = indexBytes('arm64');
    recorded = digestOf(foreign);
    stored.set(recorded, foreign);
    expect(await meaningOf(classic(OTHER))).toEqual({ digest: recorded });
    readFailure = new Error('EIO');
    expect(await meaningOf(classic(OTHER))).toEqual({ digest: recorded });
  });
});
