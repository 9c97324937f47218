import { randomBytes } from 'node:crypto';

import { Logger } from '@nestjs/common';

import { systemClock } from '../../src/common/clock.js';
import { becomes } from '../../src/runtime/containerd/becomes.js';
import { ImagePinner } from '../../src/runtime/image-pinner.js';
import { ImageRuntime } from '../../src/runtime/image-runtime.js';
import { Cleanup } from '../support/cleanup.js';
import { ContainerdEngine } from '../support/containerd-engine.js';
import { describeContainerds } from '../support/containerd-versions.js';
import { ImageBuilder } from '../support/image-builder.js';
import { runtimeModule } from '../support/runtime-of.js';
import { TestMirror } from '../support/test-mirror.js';

const { signal } = new AbortController();
const OWN = 'image-preheat/pinned=true';
const CRI = 'io.cri-containerd.pinned=pinned';

describeContainerds('Pins of images', [], (options) => {
  const cleanup = new Cleanup();
  let engine: ContainerdEngine;
  let mirror: TestMirror;
  let runtime: ImageRuntime;
  let pinner: ImagePinner;
  let tellsKubelet: boolean;
  let warnings: string[];
  const names = ['one', 'two', 'theirs'].map((name) => `registry.example/team/${name}:1`);
  const [one, two, theirs] = names as [string, string, string];

  beforeAll(async () => {
    engine = await cleanup.track(ContainerdEngine.start(options), (started) => started.stop());
    mirror = await cleanup.track(TestMirror.start(), (started) => started.stop());
    const builder = await cleanup.track(ImageBuilder.create(), (started) => started.dispose());
    const module = await runtimeModule({ kind: 'containerd', containerdSockets: [engine.socketPath] });
    runtime = module.get<ImageRuntime>(ImageRuntime);
    pinner = module.get<ImagePinner>(ImagePinner);
    // 1.6 knows no pins; the label is there all the same.
    tellsKubelet = !/ v?1\.6\./.test(await engine.ctr(['version']));
    for (const name of names) {
      const image = await builder.image({ layers: [{ seed: name, sizeBytes: 1000 }], label: name });
      mirror.add(image);
      const loopback = `${mirror.host}/preheat/${randomBytes(16).toString('hex')}@${image.root.digest}`;
      await runtime.pull(loopback, signal);
      await runtime.tag(loopback, name, signal);
      await runtime.untag(loopback, signal);
    }
    await engine.ctr(['images', 'label', theirs, CRI]);
    warnings = [];
    jest
      .spyOn(Logger.prototype, 'warn')
      .mockImplementation((_fields: unknown, text?: string) => void warnings.push(text ?? ''));
  }, 120_000);

  afterAll(async () => {
    jest.restoreAllMocks();
    await cleanup.run();
  }, 60_000);

  const labelsOf = async (name: string): Promise<string> => {
    const rows = (await engine.ctr(['images', 'ls', `name==${name}`])).trim().split('\n');
    return rows[1]?.split(/\s+/).at(-1) ?? '';
  };
  /** CRI follows with a short delay. */
  const untilPinned = async (name: string, pinned: boolean): Promise<void> => {
    const isPinned = async (): Promise<boolean> =>
      ((await engine.cri.status(name))?.pinned ?? false) === (pinned && tellsKubelet);
    expect(await becomes(isPinned, 30_000, systemClock, signal)).toBe(true);
  };

  it('are set as labels, which kubelet reads back from 1.7 on; before that the log says once that it does not', async () => {
    await pinner.pin([one, two, 'registry.example/absent:1'], signal);
    for (const name of [one, two]) {
      expect((await labelsOf(name)).split(',')).toEqual(expect.arrayContaining([OWN, CRI]));
      await untilPinned(name, true);
    }
    expect(warnings.filter((text) => text.startsWith('PIN_IMAGES has no effect'))).toHaveLength(
      tellsKubelet ? 0 : 1,
    );
  }, 60_000);

  it('are set again after a pull took them away', async () => {
    const image = (await engine.images()).find(({ name }) => name === one)!;
    await engine.ctr(['images', 'rm', one]);
    await engine.ctr(['images', 'tag', `registry.example/team/one@${image.target}`, one]);
    await engine.ctr(['images', 'label', one, `${CRI.split('=')[0]}=`, `${OWN.split('=')[0]}=`]);
    expect(await labelsOf(one)).not.toContain('pinned');
    await pinner.pin([one, two], signal);
    expect((await labelsOf(one)).split(',')).toEqual(expect.arrayContaining([OWN, CRI]));
    await untilPinned(one, true);
  }, 60_000);

  it('go when they are not wanted any more, but for those of others', async () => {
    await pinner.pin([theirs], signal);
    await pinner.unpinAllBut(new Set([two]), signal);
    expect(await labelsOf(one)).not.toContain('pinned');
    expect(await labelsOf(one)).toContain('io.cri-containerd.image=managed');
    expect(await labelsOf(two)).toContain(OWN);
    expect(await labelsOf(theirs)).toContain(CRI);
    expect(await labelsOf(theirs)).not.toContain(OWN);
    await untilPinned(one, false);
    await untilPinned(theirs, true);
  }, 60_000);
});
