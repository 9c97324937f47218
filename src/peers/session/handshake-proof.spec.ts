import { createSecretKey, randomBytes } from 'node:crypto';

import fc from 'fast-check';

import { type Handshake, proofOf, requestMac, sameMac, sessionKeysOf } from './handshake-proof.js';

const key = randomBytes(32);
const handshake: Handshake = {
  caller: { node: 'one', instance: '1'.repeat(32) },
  callerNonce: 'a'.repeat(43),
  callee: { node: 'other', instance: '2'.repeat(32), platform: 'linux/amd64', protocol: 1 },
  calleeNonce: 'b'.repeat(43),
  address: '10.0.0.2:8080',
};
const changed: [string, Handshake][] = [
  ["the caller's node", { ...handshake, caller: { ...handshake.caller, node: 'two' } }],
  ["the caller's instance", { ...handshake, caller: { ...handshake.caller, instance: '3'.repeat(32) } }],
  ["the caller's nonce", { ...handshake, callerNonce: 'c'.repeat(43) }],
  ["the callee's node", { ...handshake, callee: { ...handshake.callee, node: 'two' } }],
  ["the callee's instance", { ...handshake, callee: { ...handshake.callee, instance: '3'.repeat(32) } }],
  ["the callee's platform", { ...handshake, callee: { ...handshake.callee, platform: 'linux/arm64' } }],
  ["the callee's protocol", { ...handshake, callee: { ...handshake.callee, protocol: 2 } }],
  ["the callee's nonce", { ...handshake, calleeNonce: 'c'.repeat(43) }],
  ['the address', { ...handshake, address: '10.0.0.3:8080' }],
  [
    'the sides',
    {
      ...handshake,
      caller: handshake.callee,
      callee: { ...handshake.callee, ...handshake.caller },
      callerNonce: handshake.calleeNonce,
      calleeNonce: handshake.callerNonce,
    },
  ],
];

describe('the proofs of a handshake', () => {
  it.each(changed)('differ when %s differ', (_name, other) => {
    for (const role of ['caller', 'callee'] as const)
      expect(proofOf(key, role, other)).not.toBe(proofOf(key, role, handshake));
    expect(sessionKeysOf(key, other).secret.equals(sessionKeysOf(key, handshake).secret)).toBe(false);
  });

  it('differ by role, by key, and from the session that comes of them', () => {
    const caller = proofOf(key, 'caller', handshake);
    const session = sessionKeysOf(key, handshake);
    const secret = session.secret.export().toString('base64url');
    const all = [
      caller,
      proofOf(key, 'callee', handshake),
      proofOf(randomBytes(32), 'caller', handshake),
      secret,
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(secret.startsWith(session.id)).toBe(false);
  });

  it('keep their fields apart', () => {
    const shifted = { ...handshake, caller: { node: 'on', instance: `e${handshake.caller.instance}` } };
    expect(proofOf(key, 'caller', shifted)).not.toBe(proofOf(key, 'caller', handshake));
  });
});

describe('the MAC of a request', () => {
  const secret = createSecretKey(key);
  const request = fc.record({
    method: fc.constantFrom('GET', 'POST', 'HEAD'),
    path: fc.webPath(),
    range: fc.option(fc.constantFrom('bytes=1-', 'bytes=2-'), { nil: undefined }),
    counter: fc.integer({ min: 1, max: 4 }),
  });

  it('is the same for the same request alone', () => {
    fc.assert(
      fc.property(request, request, (left, right) => {
        const same = JSON.stringify(left) === JSON.stringify(right);
        expect(sameMac(requestMac(secret, left), requestMac(secret, right))).toBe(same);
      }),
    );
  });
});
