import { wantedImage } from '../../test/support/wanted-image.js';
import type { AppConfig } from '../config/app-config.js';
import { digestOf } from '../domain/digest.js';
import type { Lease } from '../lock/lease.js';
import type { TransferService } from '../transfer/transfer.service.js';
import type { TransferSession } from '../transfer/transfer-session.js';
import type { ImageSession } from './image-session.js';
import { ImageSessions } from './image-sessions.js';
import { Slots } from './slots.js';
import type { StatusStore } from './status.store.js';

const MIB = 1024 * 1024;
const DIGEST = digestOf(Buffer.from('an index'));
const { signal } = new AbortController();

describe('ImageSession', () => {
  let slots: Slots;
  let arrive: (count: number) => void;
  let attempts: PromiseWithResolvers<undefined>[];

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    slots = new Slots({ preheatConcurrency: 1 });
    attempts = [];
  });
  afterEach(() => jest.useRealTimers());

  /** `PULLING_TIMEOUT` is 5 minutes, unless the list's line says otherwise. */
  function open(pullingDeadlineMs?: number, timeoutMs = 300_000): ImageSession {
    const session: Partial<TransferSession> = {
      progress: { bytesDone: 0, bytesTotal: 0, source: 'store' },
      attempt: async (_options, watched) => {
        const attempt = Promise.withResolvers<undefined>();
        attempts.push(attempt);
        watched.addEventListener('abort', () => attempt.reject(watched.reason));
        await attempt.promise;
        return { kind: 'complete', root: DIGEST };
      },
    };
    const transfer: Partial<TransferService> = {
      begin: (_request, { onBytes }) => {
        arrive = onBytes;
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
    return new ImageSessions(
      config as AppConfig,
      transfer as TransferService,
      slots,
      status as StatusStore,
    ).open(wantedImage('app:1', { timeoutMs }), { identifiesBy: 'config', images: new Map() });
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
