import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Logger } from '@nestjs/common';
import fc from 'fast-check';

import { systemClock } from '../../src/common/clock.js';
import type { AppConfig } from '../../src/config/app-config.js';
import { isDigest } from '../../src/domain/digest.js';
import { formatReference, parseImageReference } from '../../src/domain/image-reference.js';
import { ContainerdClient } from '../../src/runtime/containerd/containerd-client.js';
import { ContainerdRuntime } from '../../src/runtime/containerd/containerd-runtime.js';
import { DockerClient } from '../../src/runtime/docker/docker-client.js';
import { DockerService } from '../../src/runtime/docker/docker.service.js';
import type { RuntimeSnapshot } from '../../src/runtime/image-runtime.js';
import { anyText, coded, fuzz, nearReference } from '../support/fuzz.js';
import { mutatedBytes, mutatedJson } from '../support/mutations.js';
import { FakeContainerd, type SpokenAnswers } from '../support/fake-containerd.js';
import { TINY_PLATFORM } from '../support/tiny-image.js';

const FUZZ_MS = 300_000;
const { signal } = new AbortController();
const DIGEST = `sha256:${'a'.repeat(64)}`;
/** Our messages repeat a piece of what an engine said, never all of it. */
const MAX_MESSAGE_LENGTH = 1_000;

describe('Readers of what an engine answers', () => {
  beforeAll(() => {
    Logger.overrideLogger(false);
  });

  describe('of Docker', () => {
    const answers = new Map<string, { readonly status: number; readonly body: string }>();
    let server: Server;

    beforeAll(async () => {
      server = createServer((request, response) => {
        const { status, body } = answers.get((request.url ?? '').split('?')[0] ?? '') ?? EMPTY;
        response.writeHead(status, { 'content-type': 'application/json' }).end(body);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
    });
    afterAll(() => {
      server.closeAllConnections();
      server.close();
    });

    const EMPTY = { status: 200, body: '{}' };
    const info = {
      DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']],
      DockerRootDir: '/var/lib/docker',
    };
    const images = [
      { Id: DIGEST, RepoTags: ['nginx:1', 'a.test:5000/app:v1'], RepoDigests: [`nginx@${DIGEST}`], Size: 5 },
      { Id: DIGEST, RepoTags: ['<none>:<none>'], RepoDigests: null, Size: 0 },
    ];
    const refusal = { message: 'no such image', error: 'no' };
    /** What throws when it is made a text, which the transport's own reader did. */
    const noTexts = ['{"message":{"toString":1}}', '{"toString":1,"valueOf":1}'];

    function newDocker(): DockerService {
      const dockerHost = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const runtime = { dockerHost, dockerTlsVerify: false };
      return new DockerService(new DockerClient({ runtime } as AppConfig), systemClock);
    }

    const answer = (path: string, sample: unknown) =>
      fc.record({ path: fc.constant(path), status: fc.constant(200), body: mutatedJson(sample) });
    const refused = fc.record({
      path: fc.constantFrom('/info', '/images/json'),
      status: fc.constantFrom(201, 204, 304, 400, 404, 409, 500, 599),
      body: fc.oneof(mutatedJson(refusal), fc.constantFrom(...noTexts)),
    });

    it(
      'lists images under canonical names, or fails with a code',
      async () => {
        const said = fc.oneof(answer('/info', info), answer('/images/json', images), refused);
        await fuzz(
          'Docker’s lists',
          said,
          async ({ path, status, body }) => {
            answers.clear();
            answers.set('/info', { status: 200, body: JSON.stringify(info) });
            answers.set('/images/json', { status: 200, body: JSON.stringify(images) });
            answers.set(path, { status, body });
            const snapshot = await shortlyCoded(() => newDocker().list(signal));
            if (snapshot) expectCanonical(snapshot);
          },
          60,
        );
      },
      FUZZ_MS,
    );
  });

  describe('of containerd', () => {
    let directory: string;
    let engine: FakeContainerd;

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'containerd-'));
      engine = await FakeContainerd.start(join(directory, 'containerd.sock'));
    });
    afterAll(async () => {
      engine.stop();
      await rm(directory, { recursive: true });
    });

    const text = fc.oneof(nearReference, anyText, fc.constantFrom('docker.io/library/app:v1', DIGEST, ''));
    const labels = fc.dictionary(text, text, { maxKeys: 3 });
    const oddAnswers: fc.Arbitrary<SpokenAnswers> = fc.record({
      ListImages: fc.record({
        images: fc.array(
          fc.record({
            id: text,
            repo_tags: fc.array(text),
            repo_digests: fc.array(text),
            pinned: fc.boolean(),
          }),
          { maxLength: 3 },
        ),
      }),
      List: fc.record({
        images: fc.array(
          fc.record({
            name: text,
            labels,
            target: fc.record({
              media_type: text,
              digest: text,
              size: fc.maxSafeInteger(),
              annotations: labels,
            }),
          }),
          { maxLength: 3 },
        ),
      }),
      ImageFsInfo: fc.record({
        image_filesystems: fc.array(fc.record({ fs_id: fc.option(fc.record({ mountpoint: text })) }), {
          maxLength: 2,
        }),
      }),
    });

    it(
      'lists images under canonical names, or fails with a code',
      async () => {
        const runtime = new ContainerdRuntime(
          new ContainerdClient(engine.socketPath, 'k8s.io'),
          TINY_PLATFORM,
          systemClock,
        );
        const usual = engine.encode({
          ListImages: { images: [{ id: DIGEST, repo_tags: ['docker.io/library/app:v1'], repo_digests: [] }] },
          List: {
            images: [
              {
                name: 'docker.io/library/app:v1',
                labels: { 'io.cri-containerd.image': 'managed' },
                target: { media_type: 'm', digest: DIGEST, size: 5, annotations: { a: 'b' } },
              },
            ],
          },
          ImageFsInfo: {
            image_filesystems: [{ fs_id: { mountpoint: '/var/lib/io.containerd.snapshotter.v1.overlayfs' } }],
          },
        });
        const list = async (): Promise<void> => {
          const snapshot = await shortlyCoded(() => runtime.list(signal));
          if (snapshot) expectCanonical(snapshot);
        };
        engine.answers = usual;
        expect((await runtime.list(signal)).images.size).toBe(1);
        await fuzz(
          'containerd’s lists',
          oddAnswers,
          (answers) => {
            engine.answers = engine.encode(answers);
            return list();
          },
          40,
        );
        const damaged = fc
          .constantFrom(...usual.keys())
          .chain((method) =>
            mutatedBytes(usual.get(method) ?? Buffer.alloc(0)).map((bytes) => ({ method, bytes })),
          );
        await fuzz(
          'containerd’s bytes',
          damaged,
          ({ method, bytes }) => {
            engine.answers = new Map([...usual, [method, bytes]]);
            return list();
          },
          40,
        );
      },
      FUZZ_MS,
    );
  });
});

async function shortlyCoded<T>(read: () => Promise<T>): Promise<T | undefined> {
  return coded(async () => {
    try {
      return await read();
    } catch (error) {
      expect(String(error).length).toBeLessThan(MAX_MESSAGE_LENGTH);
      throw error;
    }
  });
}

function expectCanonical({ images }: RuntimeSnapshot): void {
  for (const [name, { id, digest }] of images) {
    expect(formatReference(parseImageReference(name))).toBe(name);
    expect(isDigest(id) && isDigest(digest ?? id)).toBe(true);
  }
}
