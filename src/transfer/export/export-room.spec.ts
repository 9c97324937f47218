import type { Digest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { WantedBlob } from '../blob-source.js';
import { totalBytes } from '../image-plan.js';
import { ExportRoom } from './export-room.js';

const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
const digest = (name: string): Digest => `sha256:${name.repeat(64)}`;

describe('ExportRoom', () => {
  const layers = [100, 50, 100].map((size, index) => ({
    digest: digest(String(index)),
    size,
    mediaType: GZIP,
  }));
  const diffIds = ['a', 'b', 'a'].map(digest);
  let pins: (readonly WantedBlob[])[];
  let limitBytes: number;
  let room: ExportRoom;

  beforeEach(() => {
    pins = [];
    limitBytes = Infinity;
    room = new ExportRoom(layers, diffIds, (blobs) => {
      if (totalBytes(blobs) > limitBytes) return Promise.reject(new PreheatFailure('store_full', 'no room'));
      pins.push(blobs);
      return Promise.resolve();
    });
  });

  it('begins with what such layers take as a rule, each once', async () => {
    await room.open();
    expect(pins.map((blobs) => blobs.map(({ digest: id, size }) => [id, size]))).toEqual([
      [
        [digest('a'), 300],
        [digest('b'), 150],
      ],
    ]);
  });

  it('stays as it is while the layers fit', async () => {
    await room.open();
    for (const sizeBytes of [250, 200]) await room.admit(sizeBytes);
    expect(pins).toHaveLength(1);
  });

  it('grows before a layer that does not fit, at least to twice its size', async () => {
    await room.open();
    await room.admit(250);
    await room.admit(201);
    await room.admit(449);
    expect(pins.map(totalBytes)).toEqual([450, 900]);
    await room.admit(5000);
    expect(totalBytes(pins.at(-1) ?? [])).toBeGreaterThanOrEqual(5900);
  });

  it('says when it cannot', async () => {
    limitBytes = 500;
    await room.open();
    await room.admit(400);
    await expect(room.admit(51)).rejects.toMatchObject({ reason: 'store_full' });
  });

  it('ends also where nothing is known of the layers', async () => {
    const unknown = new ExportRoom([], [digest('a')], () => Promise.resolve());
    await unknown.open();
    await unknown.admit(10_000);
  });
});
