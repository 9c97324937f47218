import { type Digest, isDigest } from '../../domain/digest.js';
import { PreheatFailure } from '../../domain/errors.js';
import type { ImageManifest } from '../../domain/manifest.js';
import type { ExportForm } from './export-form.js';

const BLOB_FILE = /^blobs\/sha256\/([0-9a-f]{64})$/;
const CONFIG_FILE = /^([0-9a-f]{64})\.json$/;
/** Docker up to 24, and skopeo. */
const LAYER_FILE = /^(?:[0-9a-f]{64}\/layer|[0-9a-f]{64})\.tar$/;

/** The blobs that an export may bring. */
export interface ExportExpectation {
  readonly manifest: ImageManifest;
  readonly diffIds: ReadonlySet<Digest>;
  readonly form: ExportForm;
}

/** What a file of an export must hash to. */
export interface ExpectedBlob {
  /** Set when the file's name says which. */
  readonly digest?: Digest;
  readonly accept: (digest: Digest) => boolean;
}

/**
 * Which blob a file of an export must be, by its name; undefined for files that are no part of the image: documents, which we
 * have from whom we trust, and other platforms' blobs.
 * @throws PreheatFailure `corrupt` when it cannot be the blob it claims to be, by its size alone; `no_source` when it is
 * of a form that is of no use
 */
export function expectedBlob(
  { manifest, diffIds, form }: ExportExpectation,
  { path, sizeBytes }: { readonly path: string; readonly sizeBytes: number },
): ExpectedBlob | undefined {
  if (LAYER_FILE.test(path)) {
    // Its digest shows at its end alone. Where only originals count, it can be one that was never compressed.
    const mayBeOriginal = manifest.layers.some(
      ({ digest, size }) => diffIds.has(digest) && size === sizeBytes,
    );
    if (form === 'original' && !mayBeOriginal) throw uncompressed();
    return { accept: (digest) => diffIds.has(digest) };
  }
  const hex = (BLOB_FILE.exec(path) ?? CONFIG_FILE.exec(path))?.[1];
  const claimed = `sha256:${hex ?? ''}`;
  if (!isDigest(claimed)) return undefined;
  const declared = [manifest.config, ...manifest.layers].find(({ digest }) => digest === claimed);
  if (declared === undefined && !diffIds.has(claimed)) return undefined;
  if (declared === undefined && form === 'original') throw uncompressed();
  if (declared !== undefined && declared.size !== sizeBytes) {
    throw new PreheatFailure(
      'corrupt',
      `the export of a peer has ${claimed} with ${sizeBytes} bytes; it must have ${declared.size}`,
    );
  }
  return { digest: claimed, accept: (digest) => digest === claimed };
}

/** Nobody's fault: what came is the image, but not as the blobs that its manifest names. */
function uncompressed(): PreheatFailure {
  return new PreheatFailure(
    'no_source',
    'the export of a peer has uncompressed layers; the runtime of this node needs those that the manifest names',
  );
}
