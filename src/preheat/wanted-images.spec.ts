import { wantedImage } from '../../test/support/wanted-image.js';
import { parseImageReference } from '../domain/image-reference.js';
import type { ImageListEntry } from '../image-list/image-list.js';
import type { ImageListService } from '../image-list/image-list.service.js';
import { WantedImages } from './wanted-images.js';

const platform = { os: 'linux', architecture: 'amd64' };

function entry(text: string, details: Partial<ImageListEntry> = {}): ImageListEntry {
  const { image, reference } = wantedImage(text);
  return { image, reference, platform, priority: 0, line: 1, ...details };
}

describe('WantedImages', () => {
  let entries: readonly ImageListEntry[];
  let reads: number;
  let wanted: WantedImages;

  beforeEach(() => {
    entries = [];
    reads = 0;
    const list = {
      get snapshot() {
        return { entries };
      },
    };
    wanted = new WantedImages({ platform, pullingTimeoutMs: 300_000 }, list as ImageListService);
  });

  const names = (): string[] => wanted.all().map(({ image }) => image.replace('docker.io/library/', ''));
  const request = (...texts: string[]): void => wanted.request(texts.map(parseImageReference));
  const fulfil = (text: string): void => wanted.fulfil(wantedImage(text));

  it('are those of the list and of requests, by priority, each once and as the list has it', () => {
    entries = [entry('low:1'), entry('high:1', { priority: 5, timeoutMs: 1000 })];
    request('asked:1', 'high:1');
    expect(names()).toEqual(['high:1', 'low:1', 'asked:1']);
    expect(wanted.find('docker.io/library/high:1')).toMatchObject({ priority: 5, timeoutMs: 1000 });
    expect(wanted.find('docker.io/library/asked:1')).toMatchObject({ priority: 0, timeoutMs: 300_000 });
  });

  it('follow the list', () => {
    entries = [entry('old:1')];
    expect(names()).toEqual(['old:1']);
    entries = [entry('new:1')];
    expect(names()).toEqual(['new:1']);
    expect(wanted.find('docker.io/library/old:1')).toBeUndefined();
  });

  it('are put together once for a list and its requests, however often they are looked for', () => {
    const counted: ImageListEntry = {
      ...entry('app:1'),
      get image() {
        reads += 1;
        return 'docker.io/library/app:1';
      },
    };
    entries = [counted];
    for (let round = 0; round < 100; round += 1) wanted.find('docker.io/library/app:1');
    expect(reads).toBe(1);
  });

  it('of one name are the node’s own platform first', () => {
    const foreign = { os: 'linux', architecture: 'arm64' };
    entries = [entry('app:1', { platform: foreign, priority: 9 }), entry('app:1')];
    expect(wanted.find('docker.io/library/app:1')?.platform).toEqual(platform);
    entries = [entry('app:1', { platform: foreign })];
    expect(wanted.find('docker.io/library/app:1')?.platform).toEqual(foreign);
  });

  describe('by request', () => {
    it('are wanted once: fulfilled when they were ready, and still known', () => {
      request('asked:1');
      expect(wanted.isFulfilled(wantedImage('asked:1'))).toBe(false);
      fulfil('asked:1');
      expect(wanted.isFulfilled(wantedImage('asked:1'))).toBe(true);
      expect(names()).toEqual(['asked:1']);
      wanted.withdraw(wantedImage('asked:1'));
      expect(names()).toEqual([]);
    });

    it('are wanted anew with another request', () => {
      request('asked:1');
      fulfil('asked:1');
      request('asked:1');
      expect(wanted.isFulfilled(wantedImage('asked:1'))).toBe(false);
      expect(names()).toEqual(['asked:1']);
    });

    it('are wanted for good where the list names them, too', () => {
      request('asked:1');
      fulfil('asked:1');
      entries = [entry('asked:1')];
      expect(wanted.isFulfilled(wantedImage('asked:1'))).toBe(false);
    });

    it('make room for new ones once they are fulfilled, the oldest first, and not before', () => {
      request(...Array.from({ length: 1000 }, (_, index) => `asked:${index}`));
      expect(() => request('more:1')).toThrow(/1000 requested images are not ready yet/);
      expect(names()).toHaveLength(1000);
      request('asked:7');
      fulfil('asked:3');
      fulfil('asked:5');
      request('more:1');
      expect(names()).toHaveLength(1000);
      expect(names()).not.toContain('asked:3');
      expect(names()).toContain('asked:5');
      expect(() => request('more:2', 'more:3')).toThrow(/accepted at a time/);
    });
  });
});
