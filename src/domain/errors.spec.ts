import { runInNewContext } from 'node:vm';

import { parseDigest } from './digest.js';
import { asPreheatFailure, InvalidInputError, messageOf, PreheatFailure, reasonOf } from './errors.js';
import { FAILURE_REASONS, farthest, isRegistryReason } from './preheat-state.js';

describe('errors', () => {
  it('have a stable code, the name of their class and their cause', () => {
    const cause = new Error('below');
    const failure = new PreheatFailure('rate_limited', 'the registry asks to wait', {
      cause,
      retryAfterMs: 5,
    });
    expect(failure).toMatchObject({ code: 'RATE_LIMITED', name: 'PreheatFailure', cause, retryAfterMs: 5 });
    expect('cause' in new PreheatFailure('corrupt', 'x')).toBe(false);
    expect(new InvalidInputError('INVALID_X', 'x')).toMatchObject({
      code: 'INVALID_X',
      name: 'InvalidInputError',
    });
  });

  it('give a message for anything thrown', () => {
    expect(messageOf(new Error('a'))).toBe('a');
    expect(messageOf(runInNewContext("new Error('of another realm')"))).toBe('of another realm');
    expect(messageOf('text')).toBe('text');
    expect(messageOf(undefined)).toBe('undefined');
    expect(messageOf(null)).toBe('null');
  });

  it('become one of the reasons of the contract', () => {
    const failure = new PreheatFailure('corrupt', 'x');
    expect(asPreheatFailure(failure)).toBe(failure);
    expect(asPreheatFailure(new Error('y'))).toMatchObject({
      reason: 'runtime_error',
      message: 'unexpected: y',
    });
  });

  it('stand for a reason, or for the fallback', () => {
    expect(reasonOf(new PreheatFailure('corrupt', 'x'), 'runtime_error')).toBe('corrupt');
    expect(reasonOf(new Error('x'), 'runtime_error')).toBe('runtime_error');
  });
});

describe('states and sources', () => {
  it('know which failures are shared and which source is farther', () => {
    expect(FAILURE_REASONS.filter(isRegistryReason)).toEqual([
      'not_found',
      'unauthorized',
      'rate_limited',
      'registry_unreachable',
      'registry_error',
      'corrupt',
      'timeout',
    ]);
    expect([farthest('peer', 'archive'), farthest('store', 'registry')]).toEqual(['peer', 'registry']);
  });
});

describe('parseDigest', () => {
  it.each([
    '',
    'sha256:',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(64)}\n`,
    `md5:${'a'.repeat(32)}`,
  ])('refuses %j', (text) => expect(() => parseDigest(text)).toThrow(InvalidInputError));
  it('takes 64 lower-case hex digits', () =>
    expect(parseDigest(`sha256:${'a'.repeat(64)}`)).toHaveLength(71));
});
