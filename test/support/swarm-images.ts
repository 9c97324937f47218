import { type Digest, digestOf } from '../../src/domain/digest.js';
import { MEDIA_TYPES } from '../../src/domain/manifest.js';
import { generatedContent } from './generated-content.js';
import type { KeyedChance } from './keyed-chance.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Around every edge that chunks of 1 MiB have. */
const LAYER_BYTES = [0, 1, 300 * KIB, MIB, MIB + 1, 3.5 * MIB] as const;
const MAX_LAYERS = 4;

/** One image of a run, all of it in memory. */
export interface SwarmImage {
  readonly name: string;
  readonly root: Digest;
  readonly manifest: Buffer;
  /** Config and layers, each once. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

/** Images of a few layers; each but the first shares one layer with the first, as images of one base do. */
export function swarmImages(chance: KeyedChance, count: number): SwarmImage[] {
  const contentOf = (name: string): Buffer => {
    const bytes = chance.pick(LAYER_BYTES, 'size of', name);
    return Buffer.concat([...generatedContent(`${chance.seed} ${name}`, bytes, 0)]);
  };
  const shared = Buffer.concat([...generatedContent(`${chance.seed} shared`, 2.5 * MIB, 0)]);
  return Array.from({ length: count }, (_, at) => {
    const own = Array.from({ length: 1 + chance.whole(MAX_LAYERS, 'layers', at) }, (_, layer) =>
      contentOf(`layer ${layer} of ${at}`),
    );
    return imageOf(`registry.example/team/app-${at}:1`, [shared, ...own]);
  });
}

function imageOf(name: string, layers: readonly Buffer[]): SwarmImage {
  const diffIds = layers.map((layer) => digestOf(layer));
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      name,
      rootfs: { type: 'layers', diff_ids: diffIds },
    }),
  );
  const described = (mediaType: string, bytes: Buffer): object => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: described(MEDIA_TYPES.ociConfig, config),
      layers: layers.map((layer) => described(MEDIA_TYPES.ociLayer, layer)),
    }),
  );
  const blobs = new Map([config, ...layers].map((bytes) => [digestOf(bytes), bytes]));
  return { name, root: digestOf(manifest), manifest, blobs };
}
