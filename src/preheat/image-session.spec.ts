import { wantedImage } from '../../test/support/wanted-image.js';
import { abandonable } from '../common/abandonable.js';
import type { AppConfig } from '../config/app-config.js';
import { type Digest, digestOf } from '../domain/digest.js';
import type { Lease } from '../lock/lease.js';
import type { TransferListener } from '../transfer/transfer-request.js';
import type { TransferService } from '../transfer/transfer.service.js';
import type { TransferSession } from '../transfer/transfer-session.js';
import type { EarlyPull } from './early-pull.js';
import type { ImageLoader } from './image-loader.js';
import type { ImageSession } from './image-session.js';
import { ImageSessions } from './image-sessions.js';
import { Slots } from './slots.js';
import type { StatusStore } from './status.store.js';

const MIB = 1024 * 1024;
const DIGEST = digestOf(Buffer.from('an index'));
const CONFIG = digestOf(Buffer.from('a config'));
const LAYERS = [digestOf(Buffer.from('lower')), digestOf(Buffer.from('upper'))] as const;
const { signal } = new AbortController();

describe('ImageSession', () => {
  let slots: Slots;
  let arrive: (count: number) => void;
  let attempts: PromiseWithResolvers<undefined>[];
  let listener: TransferListener;
  /** Early pulls that go on, by what they pull. */
  let pulls: Digest[];

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    slots = new Slots({ preheatConcurrency: 1 });
    attempts = [];
    pulls = [];
  });
  afterEach(() => jest.useRealTimers());

  /** `PULLING_TIMEOUT` is 5 minutes, unless the list's line says otherwise. */
  function open(
    pullingDeadlineMs?: number,
    timeoutMs = 300_000,
    identifiesBy: 'config' | 'manifest' = 'config',
  ): ImageSession {
    const session: Partial<TransferSession> = {
      progress: { bytesDone: 0, bytesTotal: 0, source: 'store' },
      release: () => undefined,
      attempt: async (_options, watched) => {
        const attempt = Promise.withResolvers<undefined>();
        attempts.push(attempt);
        watched.addEventListener('abort', () => attempt.reject(watched.reason));
        await attempt.promise;
        return { kind: 'complete', root: DIGEST };
      },
      include: (_digest, _options, watched) => abandonable(new Promise(() => undefined), watched),
    };
    const transfer: Partial<TransferService> = {
      begin: (_request, told) => {
        listener = told;
        arrive = told.onBytes;
        return session as TransferSession;
      },
    };
    const config = {
      nodeName: 'n',
      platform: { os: 'linux', architecture: 'amd64' },
      runtime: {},
      ...(pullingDeadlineMs === undefined ? {} : { pullingDeadlineMs }),
    };
    const status: Partial<StatusStore> = { enter: () => undefined, update: () => undefined };
    const loader: Pick<ImageLoader, 'begin'> = {
      begin: (root) => {
        pulls.push(root);
        const pull: Pick<EarlyPull, 'root' | 'touch' | 'end'> = {
          root,
          touch: () => undefined,
          end: () => Promise.resolve(void pulls.splice(pulls.indexOf(root), 1)),
        };
        return pull as EarlyPull;
      },
    };
    return new ImageSessions(
      config as AppConfig,
      transfer as TransferService,
      loader as ImageLoader,
      slots,
      status as StatusStore,
    ).open(wantedImage('app:1', { timeoutMs }), { identifiesBy, images: new Map() });
  }

  it('fails with timeout after PULLING_TIMEOUT without 1 MiB verified', async () => {
    const failed = expect(open().attempt(DIGEST, {}, signal)).rejects.toMatchObject({ reason: 'timeout' });
    await jest.advanceTimersByTimeAsync(299_000);
    arrive(MIB - 1);
    await jest.advanceTimersByTimeAsync(1000);
    await failed;
  });

  it('goes by the time that the line of the image sets, where it sets one', async () => {
    const failed = expect(open(undefined, 10_000).attempt(DIGEST, {}, signal)).rejects.toMatchObject({
      message: 'less than 1 MiB was verified in 10 s',
    });
    await jest.advanceTimersByTimeAsync(10_000);
    await failed;
  });

  it('fails with timeout, too, where what the runtime asks for beside the plan does not come', async () => {
    const session = open();
    const outcome = session.attempt(DIGEST, {}, signal);
    attempts[0]?.resolve(undefined);
    await outcome;
    const failed = expect(session.include(CONFIG, { lease: {} as Lease }, signal)).rejects.toMatchObject({
      reason: 'timeout',
    });
    await jest.advanceTimersByTimeAsync(300_000);
    await failed;
  });

  it('goes on as long as 1 MiB comes in time, however long it takes', async () => {
    const outcome = open().attempt(DIGEST, {}, signal);
    for (let minute = 0; minute < 60; minute += 4) {
      await jest.advanceTimersByTimeAsync(240_000);
      arrive(MIB);
    }
    attempts[0]?.resolve(undefined);
    expect(await outcome).toEqual({ kind: 'complete', root: DIGEST });
  });

  it('does not count the time in which it waits for a slot', async () => {
    const busy = slots.forHolder(signal);
    await busy.take();
    const outcome = open().attempt(DIGEST, {}, signal);
    await jest.advanceTimersByTimeAsync(3_600_000);
    expect(attempts).toEqual([]);
    busy.leave();
    await jest.advanceTimersByTimeAsync(0);
    attempts[0]?.resolve(undefined);
    expect(await outcome).toEqual({ kind: 'complete', root: DIGEST });
  });

  it('waits for no slot with a lease: who has one has a slot', async () => {
    const own = slots.forHolder(signal);
    await own.take();
    const outcome = open().attempt(DIGEST, { lease: {} as Lease }, signal);
    await jest.advanceTimersByTimeAsync(0);
    attempts[0]?.resolve(undefined);
    expect(await outcome).toEqual({ kind: 'complete', root: DIGEST });
    own.leave();
  });

  /** The first of two layers of `root` comes, in an attempt that then ends. */
  async function attemptAt(session: ImageSession, root: Digest, failure?: Error): Promise<void> {
    const attempt = session.attempt(DIGEST, {}, signal).catch(() => undefined);
    await jest.advanceTimersByTimeAsync(0);
    listener.onFetching?.({ root, config: CONFIG, missing: LAYERS });
    listener.onStored?.(LAYERS[0]);
    expect(pulls).toEqual([root]);
    if (failure) attempts.at(-1)?.reject(failure);
    else attempts.at(-1)?.resolve(undefined);
    await attempt;
  }

  it('lets the runtime begin while the rest arrives, and keeps that pull for what was brought', async () => {
    const session = open();
    await attemptAt(session, DIGEST);
    expect(session.earlyPull?.root).toBe(DIGEST);
    session.close();
    expect(pulls).toEqual([]);
  });

  it('gives up the pull of an image that does not come, or comes as another one', async () => {
    const failed = open();
    await attemptAt(failed, DIGEST, new Error('no peer has it'));
    expect([failed.earlyPull, pulls]).toEqual([undefined, []]);
    const derived = open();
    await attemptAt(derived, CONFIG);
    expect([derived.earlyPull, pulls]).toEqual([undefined, []]);
  });

  it('does not let a runtime begin that knows images by their manifest', async () => {
    const session = open(undefined, undefined, 'manifest');
    const attempt = session.attempt(DIGEST, {}, signal);
    await jest.advanceTimersByTimeAsync(0);
    listener.onFetching?.({ root: DIGEST, config: CONFIG, missing: LAYERS });
    listener.onStored?.(LAYERS[0]);
    attempts[0]?.resolve(undefined);
    await attempt;
    expect(session.earlyPull).toBeUndefined();
  });

  it('ends after PULLING_DEADLINE whatever its progress, and not without one', async () => {
    const session = open(600_000);
    const failed = expect(
      session.withinDeadline(signal, (limited) => session.attempt(DIGEST, {}, limited)),
    ).rejects.toMatchObject({ reason: 'timeout', message: 'not ready after PULLING_DEADLINE, 600 s' });
    for (let minute = 0; minute < 10; minute += 1) {
      await jest.advanceTimersByTimeAsync(60_000);
      arrive(MIB);
    }
    await failed;
    expect(await open().withinDeadline(signal, () => Promise.resolve('done'))).toBe('done');
  });
});
