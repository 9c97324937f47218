import { createHmac } from 'node:crypto';

import fc from 'fast-check';

import { digestOf } from '../domain/digest.js';
import { decodeRecord, encodeRecord, type LockRecord, MAX_RECORD_BYTES, recordNodeName } from './record.js';

const KEY = Buffer.alloc(32, 7);
const RECORD_KEY = '0123456789abcdef0123456789abcdef';
const RECORD: LockRecord = {
  v: 1,
  image: 'docker.io/library/nginx:1.27',
  platform: 'linux/amd64',
  digest: digestOf(Buffer.from('x')),
  origin: 'registry',
  resolvedAt: 1_763_885_000,
  holder: { node: 'n1', instance: 'i1', address: '10.0.0.1:8080', term: 3, renewals: 9 },
  failure: { code: 'registry_error', attempt: 2, retryAfterMs: 10_500 },
};

/** As an agent with the key may write it, whatever its shape and length. */
function sealed(record: object): string {
  const opened = JSON.stringify(record).slice(0, -1);
  const mac = createHmac('sha256', KEY).update(`image-preheat record\n${RECORD_KEY}\n${opened}`).digest();
  return `${opened},"mac":"${mac.subarray(0, 16).toString('base64url')}"}`;
}

describe('record', () => {
  it('comes back as it was written, with and without a MAC', () => {
    for (const key of [KEY, undefined]) {
      const decoded = decodeRecord(RECORD_KEY, encodeRecord(RECORD_KEY, RECORD, key), key && [key]);
      expect(decoded).toMatchObject({ kind: 'record', record: RECORD });
    }
  });

  it('is not trusted when a byte, the key it stands under, or the secret differs', () => {
    const text = encodeRecord(RECORD_KEY, RECORD, KEY);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.integer({ min: 32, max: 126 }), (at, code) => {
        const character = String.fromCharCode(code);
        fc.pre(character !== text[at]);
        const forged = text.slice(0, at) + character + text.slice(at + 1);
        expect(decodeRecord(RECORD_KEY, forged, [KEY]).kind).not.toBe('record');
      }),
      // The last character of the MAC: base64 has spare bits there.
      { examples: Array.from({ length: 95 }, (_, code): [number, number] => [text.length - 3, code + 32]) },
    );
    // Who it claims to be held by is all that is taken from it.
    const wrong = { kind: 'untrusted', why: 'wrong MAC', holder: RECORD.holder };
    expect(decodeRecord('f'.repeat(32), text, [KEY])).toEqual(wrong);
    expect(decodeRecord(RECORD_KEY, text, [Buffer.alloc(32, 8), Buffer.alloc(32, 9)])).toEqual(wrong);
    const bare = encodeRecord(RECORD_KEY, RECORD, undefined);
    expect(decodeRecord(RECORD_KEY, bare, [KEY])).toEqual(wrong);
  });

  it('keeps what a newer writer of the same version added, at every level', () => {
    const { holder, failure } = RECORD;
    const newer = {
      ...RECORD,
      extra: { a: [1, 2] },
      holder: { ...holder!, zone: 'b' },
      failure: { ...failure!, by: 'x' },
    };
    const decoded = decodeRecord(RECORD_KEY, encodeRecord(RECORD_KEY, newer, KEY), [KEY]);
    expect(decoded).toMatchObject({ kind: 'record', record: newer });
    const again = encodeRecord(RECORD_KEY, (decoded as { record: LockRecord }).record, KEY);
    expect(decodeRecord(RECORD_KEY, again, [KEY])).toMatchObject({ kind: 'record', record: newer });
  });

  it.each([0, 2, 99, 1.5, '2', '1'])(
    'takes a record of version %j for held, whatever its MAC and length',
    (v) => {
      for (const pad of ['', 'p'.repeat(600)])
        expect(decodeRecord(RECORD_KEY, JSON.stringify({ ...RECORD, v, pad, mac: '?' }), [KEY])).toEqual({
          kind: 'unknown-version',
        });
    },
  );

  it('reads a failure and an origin that only later agents know, and one that is longer than ours', () => {
    const { failure } = RECORD;
    const newer = { ...RECORD, origin: 'bundle', failure: { ...failure!, code: 'registry_asleep' } };
    for (const record of [newer, { ...newer, pad: 'p'.repeat(600) }])
      expect(decodeRecord(RECORD_KEY, sealed(record), [KEY])).toMatchObject({ kind: 'record', record });
  });

  it('takes for held what has a right MAC and a shape that it does not know', () => {
    const { holder } = RECORD;
    for (const record of [
      { ...RECORD, holder: [holder] },
      { ...RECORD, digest: 'sha999:0' },
      { v: 1, only: true },
    ]) {
      expect(decodeRecord(RECORD_KEY, sealed(record), [KEY])).toEqual({ kind: 'unknown-version' });
      // Without a key anybody may have written it, by mistake too.
      expect(decodeRecord(RECORD_KEY, JSON.stringify(record), undefined).kind).toBe('untrusted');
    }
  });

  it('takes no text that it could not write again for a record', () => {
    const extended = (extra: string): string => `${JSON.stringify(RECORD).slice(0, -1)},"extra":${extra}}`;
    const whyNot = (text: string): unknown => {
      const decoded = decodeRecord(RECORD_KEY, text, undefined);
      return decoded.kind === 'untrusted' && decoded.why;
    };
    expect(whyNot(extended(`"${'e'.repeat(40_000)}"`))).toMatch(/40\d\d\d characters/);
    expect(whyNot(extended(`${'['.repeat(20_000)}${']'.repeat(20_000)}`))).toMatch(/nested/);
    expect(whyNot(extended(`[${'1,'.repeat(20_000)}1]`))).toMatch(/10000 values/);
    // An agent of a later version may know what to do with it.
    const long = sealed({ ...RECORD, extra: 'e'.repeat(5_000) });
    expect(decodeRecord(RECORD_KEY, long, [KEY])).toEqual({ kind: 'unknown-version' });
  });

  it('never decodes anything to an exception', () => {
    const texts = fc.oneof(fc.string(), fc.json(), fc.constantFrom('', 'null', '[]', '{"v":1}', '{"v":"1"}'));
    fc.assert(fc.property(texts, (text) => void decodeRecord(RECORD_KEY, text, undefined)));
  });

  it('fits into 512 bytes with the longest names, by cutting the image', () => {
    const long = {
      ...RECORD,
      image: `registry.example.com/${'a'.repeat(255)}:${'t'.repeat(128)}@${RECORD.digest!}`,
      platform: 'linux/arm64',
      holder: {
        node: recordNodeName('n'.repeat(253)),
        instance: '7f8e2c9a-0d3b-4c5e-8f6a-1b2c3d4e5f60',
        address: '[fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535',
        term: 1_000_000,
        renewals: 1_000_000,
      },
      failure: { code: 'registry_unreachable' as const, attempt: 10_000, retryAfterMs: 3_960_000 },
    };
    const text = encodeRecord(RECORD_KEY, long, KEY);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_RECORD_BYTES);
    expect(decodeRecord(RECORD_KEY, text, [KEY])).toMatchObject({
      kind: 'record',
      record: { digest: long.digest, holder: long.holder, failure: long.failure },
    });
    expect(() => encodeRecord(RECORD_KEY, { ...long, extra: 'e'.repeat(300) }, KEY)).toThrow(/512/);
  });

  it('shortens node names so that different ones stay different', () => {
    expect(recordNodeName('node-1')).toBe('node-1');
    const [left, right] = ['a', 'b'].map((end) => recordNodeName('n'.repeat(252) + end));
    expect(left).toHaveLength(63);
    expect(left).not.toBe(right);
  });
});
