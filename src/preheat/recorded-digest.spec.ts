import { digestOf } from '../domain/digest.js';
import type { FailureReason } from '../domain/preheat-state.js';
import type { RecordOrigin } from '../lock/record.js';
import type { RecordView } from '../lock/record-view.js';
import { usableDigest } from './recorded-digest.js';

const digest = digestOf(Buffer.from('an index'));
const fresh: RecordView = {
  digest,
  origin: 'registry',
  stale: false,
  unknownVersion: false,
  readOnly: false,
};
const stale: RecordView = { ...fresh, stale: true };
const after = (reason: FailureReason, origin: RecordOrigin = 'registry'): RecordView => {
  return { ...stale, origin, failure: { reason, retryAfterMs: 1 } };
};

describe('A recorded digest', () => {
  it.each<[string, RecordView, boolean]>([
    ['is fresh', fresh, true],
    ['is due for a check', stale, false],
    ['is due for a check, which nobody may make', { ...stale, readOnly: true }, true],
    ['was checked in vain: the registry is down', after('registry_unreachable'), true],
    ['was checked in vain: the registry asks to wait', after('rate_limited'), true],
    ['is not known to the registry any more', after('not_found'), false],
    ['is refused by the registry', after('unauthorized'), false],
    ['is an archive’s, and the registry does not know it', after('not_found', 'archive'), true],
  ])('that %s: %#', (_what, view, isUsable) => {
    expect(usableDigest(view)).toBe(isUsable ? digest : undefined);
  });

  it('is none where the record has none', () => {
    expect(usableDigest({ stale: false, unknownVersion: false, readOnly: false })).toBeUndefined();
  });
});
