import { wantedImage } from '../../test/support/wanted-image.js';
import { digestOf } from '../domain/digest.js';
import { PreheatFailure } from '../domain/errors.js';
import type { RuntimeSnapshot } from '../runtime/image-runtime.js';
import type { DigestNaming } from './digest-naming.js';
import type { FailurePause } from './failure-pause.js';
import type { PreheatAttempt } from './preheat.attempt.js';
import { PreheatRunner } from './preheat.runner.js';
import type { Presence, ReadyImages } from './ready-images.js';
import type { Removals } from './removals.js';
import type { RuntimeInventory } from './runtime-inventory.js';

const DIGEST = digestOf(Buffer.from('an index'));
const ENTRY = wantedImage(`registry.example/app@${DIGEST}`);
const { signal } = new AbortController();
const missing: Presence = { kind: 'missing' };
const ready: Presence = { kind: 'ready' };
const unnamed: Presence = { kind: 'unnamed', digest: DIGEST };

/** What the runtime has at each look, and what each attempt comes to: a message, or a failure. */
async function run(looks: Presence[], attempts: (string | undefined | Error)[] = []): Promise<string[]> {
  const events: string[] = [];
  const snapshot: RuntimeSnapshot = { identifiesBy: 'config', images: new Map() };
  const inventory: Partial<RuntimeInventory> = {
    snapshot: () => Promise.resolve(snapshot),
    invalidate: () => undefined,
  };
  const attempt: Partial<PreheatAttempt> = {
    make: () => {
      events.push('attempt');
      const outcome = attempts.shift();
      return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(outcome);
    },
  };
  const images: Partial<ReadyImages> = {
    recognise: () => Promise.resolve(looks.shift() ?? ready),
  };
  const naming: Partial<DigestNaming> = {
    tryOnce: (_wanted, digest) => Promise.resolve(void events.push(`name ${digest}`)),
  };
  const pause: Partial<FailurePause> = {
    after: (_wanted, _error, failures) => Promise.resolve(void events.push(`pause ${failures}`)),
  };
  const removals: Partial<Removals> = {
    ready: () => undefined,
    outlast: () => Promise.resolve(missing),
  };
  const runner = new PreheatRunner(
    attempt as PreheatAttempt,
    images as ReadyImages,
    naming as DigestNaming,
    inventory as RuntimeInventory,
    pause as FailurePause,
    removals as Removals,
  );
  await runner.run(ENTRY, signal);
  return events;
}

describe('PreheatRunner', () => {
  it('does nothing about an image that became ready by itself', async () => {
    expect(await run([ready])).toEqual([]);
  });

  it('tries until an attempt succeeds, with longer and longer pauses', async () => {
    const failure = new PreheatFailure('no_source', 'nobody has it');
    expect(await run([missing, missing, missing], [failure, failure, undefined])).toEqual([
      'attempt',
      'pause 1',
      'attempt',
      'pause 2',
      'attempt',
    ]);
  });

  it('goes on until the digest resolves, without fetching the image again', async () => {
    const name = `name ${DIGEST}`;
    expect(await run([missing, unnamed, unnamed, ready], ['not yet'])).toEqual(['attempt', name, name]);
    expect(await run([unnamed, ready])).toEqual([name]);
  });

  it('leaves an image that vanished while its digest was waited for to the next check', async () => {
    expect(await run([unnamed, missing])).toEqual([`name ${DIGEST}`]);
    expect(await run([missing, missing], ['not yet'])).toEqual(['attempt']);
  });
});
