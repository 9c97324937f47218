import { formatPlatform } from '../../domain/platform.js';
import type { Peer } from '../../peers/peer-identity.js';
import type { RuntimeHolding } from '../../peers/runtime-view.js';
import type { ImagePlan } from '../image-plan.js';
import type { TransferRequest } from '../transfer-request.js';

/** What an export may consist of: the blobs that the manifest names, or its uncompressed layers just as well. */
export type ExportForm = 'original' | 'any';

/** The peer said which image it has. One of an earlier version cannot: only its export tells. */
export function isKnown({ config, manifest }: RuntimeHolding): boolean {
  return config !== undefined || manifest !== undefined;
}

/**
 * What is to be expected of a peer's export; undefined when it would be of no use here: another image (a tag that has
 * moved), another platform, or uncompressed layers for a runtime that needs the very manifest.
 */
export function expectedForm(
  { root, manifestDigest, manifest }: ImagePlan,
  { identifiesBy, platform }: Pick<TransferRequest, 'identifiesBy' | 'platform'>,
  peer: Pick<Peer, 'platform'>,
  holding: RuntimeHolding,
): ExportForm | undefined {
  if (!isKnown(holding)) return identifiesBy === 'manifest' ? 'original' : 'any';
  if (holding.manifest === manifestDigest) return 'original';
  // Of an index, a node has its own platform alone.
  if (holding.manifest === root && peer.platform === formatPlatform(platform)) return 'original';
  return identifiesBy === 'config' && holding.config === manifest.config.digest ? 'any' : undefined;
}
