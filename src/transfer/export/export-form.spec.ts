import { TINY_PLATFORM, tinyImage } from '../../../test/support/tiny-image.js';
import { digestOf } from '../../domain/digest.js';
import type { RuntimeHolding } from '../../peers/runtime-view.js';
import type { ImagePlan } from '../image-plan.js';
import { expectedForm, type ExportForm } from './export-form.js';

const image = tinyImage();
const root = digestOf(Buffer.from('the index'));
const manifest = digestOf(image.manifestBytes);
const config = image.manifest.config.digest;
const other = digestOf(Buffer.from('what the tag meant before'));
const plan: ImagePlan = { root, manifest: image.manifest, manifestDigest: manifest, blobs: [] };

describe('expectedForm', () => {
  it.each<[string, RuntimeHolding, ExportForm | undefined, ExportForm | undefined]>([
    ['the very manifest', { manifest }, 'original', 'original'],
    ['the index', { manifest: root }, 'original', 'original'],
    ['the same config', { config }, 'any', undefined],
    ['another manifest', { manifest: other }, undefined, undefined],
    ['another config', { config: other }, undefined, undefined],
    ['something it cannot tell', {}, 'any', 'original'],
  ])('of a peer that has %s', (_, holding, byConfig, byManifest) => {
    const form = (identifiesBy: 'config' | 'manifest'): ExportForm | undefined =>
      expectedForm(plan, { identifiesBy, platform: TINY_PLATFORM }, { platform: 'linux/amd64' }, holding);
    expect([form('config'), form('manifest')]).toEqual([byConfig, byManifest]);
  });

  it('is none where the index was pulled for another platform', () => {
    const request = { identifiesBy: 'manifest', platform: TINY_PLATFORM } as const;
    const peer = { platform: 'linux/arm64' };
    expect(expectedForm(plan, request, peer, { manifest: root })).toBeUndefined();
    expect(expectedForm(plan, request, peer, { manifest })).toBe('original');
  });
});
