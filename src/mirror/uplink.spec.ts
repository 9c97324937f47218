import { systemClock } from '../common/clock.js';
import type { AppConfig } from '../config/app-config.js';
import type { PreheatMetrics } from '../metrics/preheat-metrics.js';
import { Uplink } from './uplink.js';

const MIB = 1024 * 1024;

function uplink(
  downloadRateBytesPerSecond: number,
  peerSentBytes: (bytes: number) => void = () => undefined,
): Uplink {
  const config = { limits: { downloadRateBytesPerSecond } } as unknown as AppConfig;
  return new Uplink(config, systemClock, { peerSentBytes } as unknown as PreheatMetrics);
}

describe('Uplink', () => {
  it('has as many places as read buffers of 1 MiB fit into 32 MiB, and gives each back once', () => {
    const link = uplink(0);
    const left = Array.from({ length: 30 }, () => link.tryEnter());
    expect(left.every((leave) => leave !== undefined)).toBe(true);
    expect(link.tryEnter()).toBeUndefined();
    left[0]?.();
    left[0]?.();
    expect(link.tryEnter()).toBeDefined();
    expect(link.tryEnter()).toBeUndefined();
  });

  it.each([
    ['no limit', 0, Infinity],
    ['500 MiB/s', 500 * MIB, 125 * MIB],
    ['1 MiB/s', MIB, MIB / 4],
    ['1 KiB/s', 1024, 16 * 1024],
  ])('at %s sends in pieces of no more than a quarter of a second, 16 KiB at least', (_, rate, expected) => {
    expect(uplink(rate).maxPieceBytes).toBe(expected);
  });

  it('counts what it lets go', async () => {
    const counted: number[] = [];
    await uplink(0, (bytes) => counted.push(bytes)).take(5, new AbortController().signal);
    expect(counted).toEqual([5]);
  });
});
