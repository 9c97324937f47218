import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import { hexOf } from '../../src/domain/digest.js';
import { describeWith } from '../support/engines.js';
import { writeOciLayout } from '../support/image-archive.js';
import { type BuiltImage, ImageBuilder } from '../support/image-builder.js';

const exec = promisify(execFile);

describeWith('skopeo', 'DemoRegistry and skopeo', () => {
  let builder: ImageBuilder;
  let image: BuiltImage;
  let directory: string;

  beforeAll(async () => {
    builder = await ImageBuilder.create();
    directory = await mkdtemp(join(tmpdir(), 'skopeo-'));
    image = await builder.image({
      layers: [
        { seed: 'a', sizeBytes: 500_000 },
        { seed: 'b', sizeBytes: 20_000, compression: 'zstd' },
      ],
    });
    await writeOciLayout(image, join(directory, 'from'), ['1.0']);
  });
  afterAll(async () => {
    await builder.dispose();
    await rm(directory, { recursive: true });
  });

  it.each([
    ['anyone', { kind: 'none' }, []],
    ['a password', { kind: 'basic', username: 'alice', password: 'x' }, ['--creds', 'alice:x']],
    [
      'a token',
      { kind: 'token', username: 'alice', password: 'x', expiresInMs: 60_000 },
      ['--creds', 'alice:x'],
    ],
  ] as const)('takes and gives an image: %s', async (_, auth, login) => {
    const registry = await DemoRegistry.start({ auth });
    try {
      const remote = `docker://${registry.host}/team/app:1.0`;
      const to = join(directory, `to-${auth.kind}`);
      const [dest, src] = [login.map(destination), login.map(source)];
      const policy = ['copy', '--insecure-policy', '--preserve-digests'];
      const plain = { dest: '--dest-tls-verify=false', src: '--src-tls-verify=false' };
      await exec('skopeo', [...policy, plain.dest, ...dest, `oci:${join(directory, 'from')}:1.0`, remote]);
      await exec('skopeo', [...policy, plain.src, ...src, remote, `oci:${to}:1.0`]);
      for (const { digest } of image.blobs) {
        const [sent, received] = await Promise.all([
          readFile(join(directory, 'from', 'blobs', 'sha256', hexOf(digest))),
          readFile(join(to, 'blobs', 'sha256', hexOf(digest))),
        ]);
        expect(received.equals(sent)).toBe(true);
      }
    } finally {
      await registry.stop();
    }
  });
});

function destination(argument: string): string {
  return argument.replace('--creds', '--dest-creds');
}

function source(argument: string): string {
  return argument.replace('--creds', '--src-creds');
}
