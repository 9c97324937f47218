import { answerMalices } from './answer-malices.js';
import { blobMalices } from './blob-malices.js';
import { EXPORT_MALICES } from './export-malices.js';
import type { NamedMalice } from './malice-kit.js';

/** Everything that a peer with the key can do wrong, by what it does. `trap` is an address that nobody may come to. */
export function malices(trap: string): Readonly<Record<string, NamedMalice>> {
  return { ...blobMalices(trap), ...answerMalices(trap), ...EXPORT_MALICES };
}
