import { createHash, randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

import { extract } from 'tar-stream';

import type { Digest } from '../../src/domain/digest.js';
import { PreheatFailure } from '../../src/domain/errors.js';
import type { ImageRuntime } from '../../src/runtime/image-runtime.js';
import type { LoopbackNames } from '../../src/runtime/loopback-names.js';
import type { RepoDigestRestorer } from '../../src/runtime/repo-digest-restorer.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';
import { TestMirror } from '../support/test-mirror.js';

const MIB = 1024 * 1024;

/** A runtime under test; what goes past it is asked of the engine itself. */
export interface ImageRuntimeSubject {
  readonly runtime: ImageRuntime & RepoDigestRestorer;
  readonly loopbackNames: LoopbackNames;
  readonly identifiesBy: 'config' | 'manifest';
  /** Pulls `name` as a user would, gives the id it got, and removes it. */
  plainPull?(name: string): Promise<string>;
  /** Whether the engine makes a container of what it knows as `name`. */
  canCreateContainer?(name: string): Promise<void>;
  /** Loads an exported tar into an engine that does not have the image, and gives the image's id there. */
  load?(tar: Readable, name: string): Promise<string>;
  dispose(): Promise<void>;
}

/** What `preheat` relies on, for every adapter. The mirror's port is the agent's `MIRROR_PORT`. */
export function describeImageRuntime(open: (mirror: TestMirror) => Promise<ImageRuntimeSubject>): void {
  const { signal } = new AbortController();
  let subject: ImageRuntimeSubject;
  let runtime: ImageRuntime & RepoDigestRestorer;
  let builder: ImageBuilder;
  let mirror: TestMirror;
  let counter = 0;

  const loopbackName = (digest: Digest): string =>
    `${mirror.host}/preheat/${randomBytes(16).toString('hex')}@${digest}`;
  const names = async (): Promise<string[]> => [...(await runtime.list(signal)).images.keys()];
  const newImage = async (sizeBytes = 100_000, layers = 2): Promise<BuiltImage> => {
    const label = `image-${counter++}`;
    const specs = Array.from({ length: layers }, (_, index) => ({ seed: `${label}/${index}`, sizeBytes }));
    const image = await builder.image({ layers: specs, label });
    mirror.add(image);
    return image;
  };
  const idOf = (image: BuiltImage): Digest =>
    subject.identifiesBy === 'config' ? image.images[0]!.config.digest : image.root.digest;
  /** As `preheat` does it. */
  const preheat = async (image: BuiltImage, name: string): Promise<void> => {
    const loopback = loopbackName(image.root.digest);
    await runtime.pull(loopback, signal);
    await runtime.tag(loopback, name, signal);
    await runtime.untag(loopback, signal);
  };
  const failsFor = async (work: Promise<unknown>): Promise<string> => {
    const error: unknown = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(PreheatFailure);
    return (error as PreheatFailure).reason;
  };

  beforeAll(async () => {
    mirror = await TestMirror.start();
    builder = await ImageBuilder.create();
    subject = await open(mirror);
    ({ runtime } = subject);
  }, 120_000);

  afterAll(async () => {
    await Promise.all([subject.dispose(), mirror.stop(), builder.dispose()]);
  }, 60_000);

  it('has nothing at first, and says how it identifies images and where it keeps them', async () => {
    const { identifiesBy, images, rootDirectory } = await runtime.list(signal);
    expect(identifiesBy).toBe(subject.identifiesBy);
    expect([...images]).toEqual([]);
    expect(rootDirectory).toMatch(/^\//);
  });

  it('makes an image ready under its real name alone, with the id that a plain pull gives', async () => {
    const image = await newImage();
    const plainId = await subject.plainPull?.(`${mirror.host}/plain/app@${image.root.digest}`);
    expect(plainId ?? idOf(image)).toBe(idOf(image));
    const loopback = loopbackName(image.root.digest);
    let signs = 0;
    await runtime.pull(loopback, signal, () => signs++);
    expect(signs).toBeGreaterThan(0);
    expect((await runtime.list(signal)).images.get(loopback)).toMatchObject({
      id: idOf(image),
      digest: image.root.digest,
    });
    await runtime.tag(loopback, 'example.org:5000/team/app:1.0', signal);
    await runtime.untag(loopback, signal);
    const { images } = await runtime.list(signal);
    expect(images.get('example.org:5000/team/app:1.0')?.id).toBe(idOf(image));
    expect([...images.keys()].filter((name) => name.startsWith('127.0.0.1'))).toEqual([]);
    await subject.canCreateContainer?.('example.org:5000/team/app:1.0');
  }, 60_000);

  it('takes an index by its own digest, and lists Docker Hub names in full', async () => {
    const windows = await builder.image({
      layers: [{ seed: 'windows', sizeBytes: 1000 }],
      platform: { os: 'windows', architecture: 'amd64' },
    });
    const index = await builder.index([windows, await newImage()], { attestations: true });
    mirror.add(index);
    await preheat(index, 'docker.io/library/hello:2');
    const image = (await runtime.list(signal)).images.get('docker.io/library/hello:2');
    expect(image?.id).toBe(
      subject.identifiesBy === 'config' ? index.images[1]!.config.digest : index.root.digest,
    );
    await subject.canCreateContainer?.('docker.io/library/hello:2');
  }, 60_000);

  it('takes Docker schema 2, uncompressed layers and one layer twice', async () => {
    const layer = { seed: 'plain', sizeBytes: 50_000, compression: 'none' } as const;
    const image = await builder.image({ layers: [layer, layer], format: 'docker', label: 'docker' });
    mirror.add(image);
    await preheat(image, 'example.org/docker:1');
    expect((await runtime.list(signal)).images.get('example.org/docker:1')?.id).toBe(idOf(image));
    await subject.canCreateContainer?.('example.org/docker:1');
  }, 60_000);

  it('moves a tag', async () => {
    const next = await newImage();
    await preheat(await newImage(), 'example.org/moved:latest');
    await preheat(next, 'example.org/moved:latest');
    expect((await runtime.list(signal)).images.get('example.org/moved:latest')?.id).toBe(idOf(next));
  }, 60_000);

  it('does not mind taking away a name that is not there', async () => {
    await runtime.untag('example.org/never/seen:1', signal);
    await runtime.untag(loopbackName(`sha256:${'0'.repeat(64)}`), signal);
  });

  it('refuses to tag what is not there', async () => {
    const source = loopbackName(`sha256:${'0'.repeat(64)}`);
    expect(await failsFor(runtime.tag(source, 'example.org/never/seen:1', signal))).toBe('runtime_error');
  });

  it('resolves a restored name by digest, without the loopback name and without a tag', async () => {
    const image = await newImage();
    const loopback = loopbackName(image.root.digest);
    const name = `${mirror.host}/team/by-digest@${image.root.digest}`;
    await runtime.pull(loopback, signal);
    mirror.requests.length = 0;
    // Some runtimes can without a registry; none asks one for it.
    await runtime.restoreLocally(name, signal);
    expect(mirror.requests).toEqual([]);
    await runtime.restore(name, signal);
    expect(await runtime.restoreLocally(name, signal)).toBe(true);
    expect(mirror.requests.filter((request) => !request.endsWith(image.root.digest))).toEqual([]);
    await runtime.untag(loopback, signal);
    const { images } = await runtime.list(signal);
    expect(images.get(name)).toMatchObject({ id: idOf(image), digest: image.root.digest });
    expect([...images.keys()].filter((known) => known.includes('by-digest:'))).toEqual([]);
    await subject.canCreateContainer?.(name);
    mirror.requests.length = 0;
    await runtime.restore(name, signal);
    expect(mirror.requests).toEqual([]);
  }, 60_000);

  it.each(['missing', 'corrupt', 'breaks-off'] as const)(
    'fails when a layer is %s, and then has no such image',
    async (fault) => {
      const image = await newImage(MIB);
      mirror.faults.set(image.images[0]!.layers[1]!.digest, fault);
      const loopback = loopbackName(image.root.digest);
      const reason = await failsFor(runtime.pull(loopback, signal));
      expect(reason).toBe(reason === 'corrupt' ? 'corrupt' : 'runtime_error');
      expect(await names()).not.toContain(loopback);
      mirror.faults.clear();
      // containerd keeps the wrong bytes as a download to be resumed, and fails again: a mirror must never send any.
      if (fault === 'corrupt') return;
      await runtime.pull(loopback, signal);
      expect(await names()).toContain(loopback);
    },
    60_000,
  );

  it('fails when the manifest is missing', async () => {
    expect(await failsFor(runtime.pull(loopbackName(`sha256:${'1'.repeat(64)}`), signal))).toBe(
      'runtime_error',
    );
  });

  it('says so when an index has nothing for this platform', async () => {
    const image = await builder.image({
      layers: [{ seed: 'windows', sizeBytes: 1000 }],
      platform: { os: 'windows', architecture: 'amd64' },
    });
    const index = await builder.index([image]);
    mirror.add(index);
    const pull = runtime.pull(loopbackName(index.root.digest), signal);
    expect(await failsFor(pull)).toBe('platform_not_supported');
  });

  it('stops a pull when told to, with the reason it was given', async () => {
    const image = await newImage(4 * MIB);
    const layer = image.images[0]!.layers[1]!.digest;
    mirror.faults.set(layer, 'hangs');
    const controller = new AbortController();
    const loopback = loopbackName(image.root.digest);
    const pull = runtime.pull(loopback, controller.signal);
    while (!mirror.requests.some((request) => request.endsWith(layer))) await delay(10);
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(pull).rejects.toBe(reason);
    await expect(runtime.pull(loopback, controller.signal)).rejects.toBe(reason);
    await expect(runtime.list(controller.signal)).rejects.toBe(reason);
    mirror.faults.clear();
    expect(await names()).not.toContain(loopback);
    await runtime.pull(loopback, signal);
    expect(await names()).toContain(loopback);
  }, 60_000);

  it('exports a tar that says what it holds, and that an engine loads', async () => {
    const image = await newImage();
    await preheat(image, 'example.org/exported:1');
    const files = await untar(await runtime.export('example.org/exported:1', signal));
    const [manifest] = JSON.parse(String(files.get('manifest.json'))) as [
      { Config: string; RepoTags: string[]; Layers: string[] },
    ];
    expect(manifest.RepoTags).toEqual(['example.org/exported:1']);
    const config = createHash('sha256').update(files.get(manifest.Config)!).digest('hex');
    expect(`sha256:${config}`).toBe(image.images[0]!.config.digest);
    expect(manifest.Layers.every((layer) => files.has(layer))).toBe(true);
    const loaded = await subject.load?.(
      await runtime.export('example.org/exported:1', signal),
      'example.org/exported:1',
    );
    expect(loaded ?? image.images[0]!.config.digest).toBe(image.images[0]!.config.digest);
  }, 60_000);

  it('has no export of what is not there', async () => {
    expect(await failsFor(runtime.export('example.org/never/seen:1', signal))).toBe('not_found');
  });

  it('breaks an export off when told to', async () => {
    const image = await newImage(8 * MIB);
    await preheat(image, 'example.org/broken-off:1');
    const controller = new AbortController();
    const stream = await runtime.export('example.org/broken-off:1', controller.signal);
    await stream[Symbol.asyncIterator]().next();
    controller.abort();
    await expect(buffer(stream)).rejects.toThrow();
    expect(stream.readableEnded).toBe(false);
  }, 60_000);

  it('sweeps left-over loopback names, but no image and no other name', async () => {
    const kept = [`${mirror.host}/other/app:1`, 'example.org/preheat/app:1', '127.0.0.1:1/preheat/app:1'];
    const image = await newImage();
    const [leftOver, inUse] = [loopbackName(image.root.digest), loopbackName(image.root.digest)];
    await runtime.pull(leftOver, signal);
    await runtime.pull(inUse, signal);
    for (const name of kept) await runtime.tag(leftOver, name, signal);
    const last = loopbackName((await newImage()).root.digest);
    await runtime.pull(last, signal);
    const before = await names();
    const sweep = await subject.loopbackNames.sweep((name) => name === inUse, signal);
    expect(sweep.removed).toContain(leftOver);
    expect(sweep.lastNames).toContain(last);
    const after = await names();
    expect(after).toEqual(expect.arrayContaining([...kept, inUse, last]));
    expect(after.sort()).toEqual(before.filter((name) => !sweep.removed.includes(name)).sort());
    expect(await subject.loopbackNames.sweep(() => true, signal)).toEqual({ removed: [], lastNames: [] });
  }, 60_000);

  it('answers many who ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => names()));
    expect(new Set(answers.map((answer) => answer.join())).size).toBe(1);
  });
}

/** The files of a small tar. */
async function untar(stream: Readable): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const tar = extract();
  tar.end(await buffer(stream));
  for await (const entry of tar) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
    files.set(entry.header.name, Buffer.concat(chunks));
  }
  return files;
}
