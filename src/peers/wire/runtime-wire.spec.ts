import type { RuntimeHolding } from '../runtime-view.js';
import { encodeRuntimeAnswer, runtimeAnswerSchema } from './runtime-wire.js';

const CONFIG = `sha256:${'c'.repeat(64)}` as const;
const INDEX = `sha256:${'1'.repeat(64)}` as const;

describe('what a runtime has, on the wire', () => {
  it('arrives as it was sent', () => {
    const present = new Map<string, RuntimeHolding>([
      ['docker.io/library/a:1', { config: CONFIG }],
      ['docker.io/library/b:1', { manifest: INDEX }],
      ['docker.io/library/c:1', {}],
    ]);
    const sent: unknown = JSON.parse(JSON.stringify(encodeRuntimeAnswer(present)));
    expect(runtimeAnswerSchema.parse(sent)).toEqual(present);
  });

  it('names the images as agents of an earlier version expect it', () => {
    expect(encodeRuntimeAnswer(new Map([['a:1', { config: CONFIG }]]))).toMatchObject({ images: ['a:1'] });
  });

  it.each([
    ['an earlier version does not say', undefined],
    ['a later version says otherwise', { 'a:1': { config: 'blake3:00' }, 'b:1': { manifest: INDEX } }],
    ['it says of others only', { 'b:1': { manifest: INDEX } }],
  ])('leaves open which image it is when %s', (_, holdings) => {
    const parsed = runtimeAnswerSchema.parse({ images: ['a:1'], holdings, later: true });
    expect(parsed).toEqual(new Map([['a:1', {}]]));
  });
});
