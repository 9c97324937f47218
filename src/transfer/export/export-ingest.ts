import { pipeline } from 'node:stream/promises';

import { Inject, Injectable } from '@nestjs/common';

import { entryData, tarEntries } from '../../common/tar/tar-entries.js';
import { StreamTarInput } from '../../common/tar/tar-input.js';
import { type Digest, digestOf } from '../../domain/digest.js';
import { InvalidInputError, PreheatFailure } from '../../domain/errors.js';
import { deriveManifest, type ImageManifest, MEDIA_TYPES, parseImageConfig } from '../../domain/manifest.js';
import { BlobStore } from '../../store/blob-store.js';
import { StoreInventory } from '../../store/store-inventory.js';
import type { WantedBlob } from '../blob-source.js';
import { expectedBlob, type ExportExpectation } from './export-expectation.js';
import type { ExportForm } from './export-form.js';

/** The part of the blob store that an export is unpacked into. */
export interface ExportStore {
  sizeOf(digest: Digest): Promise<number | undefined>;
  putBytes(digest: Digest, bytes: Uint8Array): Promise<void>;
  ingest(
    stream: AsyncIterable<Uint8Array>,
    accept: (digest: Digest) => boolean,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<{ readonly digest: Digest; readonly size: number } | undefined>;
}

/** Takes blobs out of the store. */
export interface ExportDrop {
  remove(digest: Digest): Promise<void>;
}

/** The image that an export must be; both documents were checked against trusted digests. */
export interface TrustedImage {
  readonly manifest: ImageManifest;
  readonly configBytes: Uint8Array;
}

/** What the receiver can take, and how fast. */
export interface ExportIntake {
  readonly form: ExportForm;
  /** Longest stream that is read. */
  readonly maxBytes: number;
  /** Awaited with the length of each piece that arrived. */
  readonly receive: (bytes: number) => Promise<void>;
  /** Awaited with the size of each blob before it is written; throws when there is no room for it. */
  readonly admit: (sizeBytes: number) => Promise<void>;
}

/** What the store has after an export: all blobs named, complete. */
export type ExportResult =
  | { readonly complete: 'original'; readonly blobs: readonly WantedBlob[] }
  | {
      readonly complete: 'derived';
      /** The manifest around the same config whose layers are the uncompressed ones. */
      readonly derived: Digest;
      /** The derived manifest, the config, the layers. */
      readonly blobs: readonly WantedBlob[];
    };

/**
 * Unpacks a `docker save` or an `/images/download` of another node into the store as it comes. Nothing of it is trusted: each
 * file is either one of the blobs that the image is made of, by its hash, or it is not taken.
 */
@Injectable()
export class ExportIngest {
  constructor(
    @Inject(BlobStore) private readonly store: ExportStore,
    @Inject(StoreInventory) private readonly inventory: ExportDrop,
  ) {}

  /**
   * @throws PreheatFailure `corrupt` when a file is not what it must be or layers are missing at the end; `no_source` when
   * it is not of the form that is of use. Then, as when the stream itself fails or there is no room, nothing of what came
   * with it stays in the store but layers of the manifest itself.
   */
  async ingest(
    stream: AsyncIterable<Uint8Array>,
    image: TrustedImage,
    intake: ExportIntake,
    signal: AbortSignal,
  ): Promise<ExportResult> {
    const { diffIds } = parseImageConfig(image.configBytes);
    const wanted = [image.manifest.config, ...image.manifest.layers].map(({ digest }) => digest);
    const before = await this.present([...wanted, ...diffIds]);
    const taken = new Set<Digest>();
    try {
      const expectation = { manifest: image.manifest, diffIds: new Set(diffIds), form: intake.form };
      await pipeline(stream, (source) => this.unpack(source, expectation, before, taken, intake, signal), {
        signal,
      });
      return await this.complete(image, diffIds, intake.form);
    } catch (error) {
      // The manifest's own layers are right, whatever the rest is. Whoever waits for them has seen them, and ends this
      // export when all are there: to take them away then would leave an image without them.
      const originals = new Set(image.manifest.layers.map(({ digest }) => digest));
      for (const digest of taken) if (!originals.has(digest)) await this.inventory.remove(digest);
      signal.throwIfAborted();
      throw error instanceof InvalidInputError ? corrupt(error.message, error) : error;
    }
  }

  private async unpack(
    source: AsyncIterable<Uint8Array>,
    expectation: ExportExpectation,
    before: ReadonlySet<Digest>,
    taken: Set<Digest>,
    { maxBytes, receive, admit }: ExportIntake,
    signal: AbortSignal,
  ): Promise<void> {
    const input = new StreamTarInput(received(source, receive), maxBytes, signal);
    for await (const entry of tarEntries(input)) {
      // Links only repeat what is there as a file.
      if (entry.type !== 'file') continue;
      const expected = expectedBlob(expectation, entry);
      if (expected === undefined || (expected.digest !== undefined && before.has(expected.digest))) continue;
      await admit(entry.sizeBytes);
      const data = entryData(input, entry.sizeBytes);
      const blob = await this.store.ingest(data, expected.accept, entry.sizeBytes, signal);
      if (blob === undefined) throw corrupt(`${JSON.stringify(entry.path)} is no part of the image`);
      if (!before.has(blob.digest)) taken.add(blob.digest);
    }
    // Padding. The stream counts as whole only when its end was reached.
    while ((await input.take(maxBytes)) !== undefined);
  }

  private async complete(
    image: TrustedImage,
    diffIds: readonly Digest[],
    form: ExportForm,
  ): Promise<ExportResult> {
    const { config, layers } = image.manifest;
    const original = await this.present(layers.map(({ digest }) => digest));
    const missing = layers.find(({ digest }) => !original.has(digest));
    if (!missing) {
      await this.store.putBytes(config.digest, image.configBytes);
      return { complete: 'original', blobs: [config, ...layers] };
    }
    if (form === 'original') throw corrupt(`it has no layer ${missing.digest}`);

    const plain: WantedBlob[] = [];
    for (const digest of diffIds) {
      const size = await this.store.sizeOf(digest);
      if (size === undefined) throw corrupt(`it has no layer with diffID ${digest}`);
      plain.push({ digest, size, mediaType: MEDIA_TYPES.ociLayer });
    }
    const manifest = deriveManifest({ digest: config.digest, size: image.configBytes.length }, plain);
    const derived = digestOf(manifest);
    await this.store.putBytes(config.digest, image.configBytes);
    await this.store.putBytes(derived, manifest);
    const described = { digest: derived, size: manifest.length, mediaType: MEDIA_TYPES.ociManifest };
    return { complete: 'derived', derived, blobs: [described, config, ...plain] };
  }

  private async present(digests: Iterable<Digest>): Promise<Set<Digest>> {
    const present = new Set<Digest>();
    for (const digest of digests) if ((await this.store.sizeOf(digest)) !== undefined) present.add(digest);
    return present;
  }
}

async function* received(
  source: AsyncIterable<Uint8Array>,
  receive: ExportIntake['receive'],
): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    await receive(bytes.length);
    yield bytes;
  }
}

function corrupt(why: string, cause?: unknown): PreheatFailure {
  return new PreheatFailure('corrupt', `the export of a peer is not the image asked for: ${why}`, { cause });
}
