import { randomBytes } from 'node:crypto';

import { Logger } from '@nestjs/common';

import { VirtualClock } from '../../../test/support/virtual-clock.js';
import { InvalidInputError } from '../../domain/errors.js';
import { ClusterKey } from './cluster-key.js';
import type { KeyMaterial, KeySource } from './key-source.js';

const { signal } = new AbortController();
const POLL_MS = 300_000;

describe('ClusterKey', () => {
  let clock: VirtualClock;
  let material: KeyMaterial | Error;
  let loads: number;
  let key: ClusterKey;

  beforeAll(() => {
    Logger.overrideLogger(false);
  });

  beforeEach(() => {
    clock = new VirtualClock();
    material = { peerKey: randomBytes(32), apiToken: 'token' };
    loads = 0;
    const load = () => {
      loads += 1;
      return material instanceof Error ? Promise.reject(material) : Promise.resolve(material);
    };
    key = new ClusterKey({ pollIntervalMs: POLL_MS, load }, clock);
  });
  afterEach(() => key.onModuleDestroy());

  it('has nothing before it is read, and a key of its own for each purpose after', async () => {
    expect(key.keysFor('a')).toEqual([]);
    expect(key.apiToken).toBeUndefined();
    await key.reload(signal);
    expect(key.keysFor('a')).toHaveLength(1);
    expect(key.keysFor('a')).toEqual(key.keysFor('a'));
    expect(key.keysFor('a')).not.toEqual(key.keysFor('b'));
    expect(key.apiToken).toBe('token');
  });

  it('accepts the key before for a quarter of an hour, the new one first', async () => {
    await key.reload(signal);
    const [before] = key.keysFor('a');
    material = { peerKey: randomBytes(32) };
    await key.reload(signal);
    const keys = key.keysFor('a');
    expect(keys).toHaveLength(2);
    expect(keys[1]).toEqual(before);
    await clock.advance(15 * 60_000);
    expect(key.keysFor('a')).toEqual([keys[0]]);
    expect(key.apiToken).toBeUndefined();
  });

  it('looks for a change at its interval, and once in 30 s when someone seems to have another key', async () => {
    await key.onModuleInit();
    await clock.advance(POLL_MS);
    expect(loads).toBe(2);
    key.suspect();
    await clock.advance(1);
    expect(loads).toBe(3);
    key.suspect();
    await clock.advance(1_000);
    expect(loads).toBe(3);
    await clock.advance(29_000);
    key.suspect();
    await clock.advance(1);
    expect(loads).toBe(4);
  });

  it('tries again until it can be read, and keeps what it has meanwhile', async () => {
    const good = material;
    material = new Error('no API server');
    await key.onModuleInit();
    await clock.advance(10_000);
    expect(loads).toBeGreaterThan(3);
    material = good;
    await clock.advance(60_000);
    expect(key.apiToken).toBe('token');
    material = new Error('no API server');
    await clock.advance(POLL_MS);
    expect(key.keysFor('a')).toHaveLength(1);
  });

  describe('of the last run', () => {
    const kept = { peerKey: Buffer.alloc(32, 9) };
    const started = async (source: Partial<KeySource>): Promise<ClusterKey> => {
      const load = () => (material instanceof Error ? Promise.reject(material) : Promise.resolve(material));
      key = new ClusterKey({ pollIntervalMs: POLL_MS, load, ...source }, clock);
      await key.onModuleInit();
      return key;
    };
    const recall = () => Promise.resolve(kept);

    it('serves while it cannot be read, and is looked for no less often for that', async () => {
      const good = material;
      material = new Error('no API server');
      const { apiToken } = await started({ recall });
      const [recalled] = key.keysFor('a');
      expect(recalled).toBeDefined();
      expect(apiToken).toBeUndefined();

      material = good;
      await clock.advance(1_000);
      expect(key.apiToken).toBe('token');
      // The one that served may still be that of others.
      expect(key.keysFor('a')).toHaveLength(2);
      expect(key.keysFor('a')[1]).toEqual(recalled);
    });

    it('is not asked for when it can be read', async () => {
      const asked = jest.fn(recall);
      await started({ recall: asked });
      expect(asked).not.toHaveBeenCalled();
      expect(key.keysFor('a')).toHaveLength(1);
    });

    it('may be none', async () => {
      material = new Error('no API server');
      await started({ recall: () => Promise.resolve({}) });
      expect(key.keysFor('a')).toEqual([]);
    });
  });

  it('does not start on secrets that are no good', async () => {
    material = new InvalidInputError('INVALID_SECRET', 'too short');
    await expect(key.onModuleInit()).rejects.toThrow('too short');
  });
});
