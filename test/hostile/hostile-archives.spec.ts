import { createWriteStream } from 'node:fs';
import { access, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';

import { encodeTarHeader } from '../../src/common/tar/tar-header.js';
import type { DemoRegistry } from '../../src/demo/registry/demo-registry.js';
import type { AgentProcess } from '../support/agent-process.js';
import { Cleanup } from '../support/cleanup.js';
import { startDemoRegistry } from '../support/demo-images.js';
import { expectRightBlobs, prepareDirectoryCluster } from '../support/directory-cluster.js';
import { type ImageBytes, putImageBytes } from '../support/image-bytes.js';
import { tally } from '../support/tally.js';
import { unforeseen } from '../support/target.js';
import { dockerArchiveFiles, ociLayoutFiles, tarOf, tinyImage } from '../support/tiny-image.js';
import { zeroFrames, zstdOfWindow } from '../support/zstd-frames.js';

const READY_MS = 180_000;
const MIB = 1024 * 1024;
const CLIMBED = '/tmp/image-preheat-climbed';
/** Of the 1 GiB that k8s/ gives an agent. */
const MAX_PEAK_BYTES = 400 * MIB;
const END = Buffer.alloc(1024);

/** A header that no well-meaning tool writes. */
function header(name: string, sizeBytes: number, type = '0', link = ''): Buffer {
  const block = encodeTarHeader('a', sizeBytes);
  block.fill(0, 0, 100).write(name, 0, 'latin1');
  block.write(type, 156, 'latin1');
  block.write(link, 157, 'latin1');
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** `piece` over and over, packed, without ever being there as a whole. */
async function writePacked(path: string, start: Buffer, piece: Buffer, times: number): Promise<void> {
  const pieces = function* (): Generator<Buffer> {
    yield start;
    for (let time = 0; time < times; time += 1) yield piece;
  };
  await pipeline(Readable.from(pieces()), createGzip({ level: 1 }), createWriteStream(path));
}

describe('Hostile archives in MOUNT_DIR', () => {
  const cleanup = new Cleanup();
  let registry: DemoRegistry;
  let agent: AgentProcess;
  let image: ImageBytes;
  let hostile: string[];

  beforeAll(async () => {
    registry = await startDemoRegistry(cleanup);
    image = await putImageBytes(registry, 'wanted', [MIB, 50_000]);
    const cluster = await prepareDirectoryCluster(cleanup, 1);
    [agent] = cluster.agents as [AgentProcess];
    hostile = await fill(agent.archiveDirectory);
    // By digest: what an archive says of a tag that has no record yet would count.
    await agent.list(`${image.reference}@${image.root}`);
    agent.start();
  }, READY_MS);

  afterAll(() => cleanup.run(), 60_000);

  /** @returns names of what was put there */
  async function fill(directory: string): Promise<string[]> {
    const at = (name: string): string => join(directory, name);
    const other = tinyImage();
    const blobs = [...image.blobs];
    const hexOf = (digest: string): string => digest.slice('sha256:'.length);
    const files: [string, Buffer][] = [
      [
        'climbing.tar',
        Buffer.concat([header(`../../../../..${CLIMBED}`, 5), Buffer.alloc(512, 'climb'), END]),
      ],
      ['absolute.tar', Buffer.concat([header(CLIMBED, 5), Buffer.alloc(512, 'climb'), END])],
      ['link.tar', Buffer.concat([header('manifest.json', 0, '2', '/etc/passwd'), END])],
      ['hard-link.tar', Buffer.concat([header('manifest.json', 0, '1', '../../etc/passwd'), END])],
      ['device.tar', Buffer.concat([header('manifest.json', 0, '3'), END])],
      [
        'circle.tar',
        Buffer.concat([
          header('a', 0, '2', 'b'),
          header('b', 0, '2', 'a'),
          header('manifest.json', 0, '2', 'a'),
          END,
        ]),
      ],
      [
        'twice.tar',
        Buffer.concat([
          tarOf(dockerArchiveFiles(other, [image.reference])).subarray(0, -1024),
          tarOf([['manifest.json', '[]']]),
        ]),
      ],
      [
        'huge-pax.tar',
        Buffer.concat([header('pax', 8 * 1024 * MIB - 1, 'x'), Buffer.alloc(MIB, '9 path=a\n')]),
      ],
      ['sparse.tar', header('sparse', 8 * 1024 * MIB - 1)],
      ['no-tar.tar', Buffer.alloc(3 * MIB, 'no tar')],
      ['cut.tar.gz', gzipSync(tarOf(ociLayoutFiles(other, [image.reference]))).subarray(0, -20)],
      // Would have the decoder allocate 2 GiB.
      ['window.tar.zst', zstdOfWindow(31, tarOf(dockerArchiveFiles(other, [image.reference])))],
      [
        'layer-bomb.tar',
        tarOf(
          dockerArchiveFiles(other, [image.reference]).map(([name, bytes], at): [string, Buffer] => [
            name,
            at === 0 ? Buffer.concat(zeroFrames(1200)) : bytes,
          ]),
        ),
      ],
      // Says that it is the image, and has another one's content, or other bytes under the right names.
      ['other-image.tar', tarOf(dockerArchiveFiles(other, [image.reference]))],
      [
        'other-bytes.tar',
        tarOf([
          ['oci-layout', '{"imageLayoutVersion":"1.0.0"}'],
          [
            'index.json',
            JSON.stringify({
              schemaVersion: 2,
              manifests: [
                {
                  mediaType: 'application/vnd.oci.image.manifest.v1+json',
                  digest: image.root,
                  size: image.blobs.get(image.root)!.length,
                  annotations: { 'io.containerd.image.name': image.reference },
                },
              ],
            }),
          ],
          ...blobs.map(([digest, bytes]): [string, Buffer] => [
            `blobs/sha256/${hexOf(digest)}`,
            digest === image.root ? bytes : Buffer.from(bytes.map((byte) => byte ^ 1)),
          ]),
        ]),
      ],
    ];
    for (const [name, bytes] of files) await writeFile(at(name), bytes);
    await writePacked(
      at('million.tar.gz'),
      Buffer.alloc(0),
      Buffer.concat(Array.from({ length: 1_000 }, (_, entry) => header(`entry-${entry}`, 0))),
      1_000,
    );
    await writePacked(
      at('bomb.tar.gz'),
      header('manifest.json', 2 * 1024 * MIB),
      Buffer.alloc(MIB),
      2 * 1024,
    );
    await writePacked(
      at('documents.tar.gz'),
      Buffer.alloc(0),
      Buffer.concat(
        Array.from({ length: 64 }, (_, entry) =>
          Buffer.concat([header(`document-${entry}`, 3 * MIB), Buffer.alloc(3 * MIB, '[')]),
        ),
      ),
      1,
    );
    await symlink('/etc/passwd', at('passwd.tar'));
    await mkdir(at('layout/blobs/sha256'), { recursive: true });
    await writeFile(at('layout/oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await symlink('/etc/passwd', at('layout/index.json'));
    for (const [digest] of blobs) await symlink('/etc/passwd', at(`layout/blobs/sha256/${hexOf(digest)}`));
    return [
      ...files.map(([name]) => name),
      'million.tar.gz',
      'bomb.tar.gz',
      'documents.tar.gz',
      'passwd.tar',
      'layout',
    ];
  }

  it(
    'do not keep the image from being the right one',
    async () => {
      tally('bad inputs tried', hostile.length);
      const [status] = await agent.wait('ready', READY_MS, async () => {
        const images = await agent.images();
        return images.every(({ state }) => state === 'ready') && images.length === 1 ? images : undefined;
      });
      expect(status?.digest).toBe(image.root);
      await expectRightBlobs([agent]);
    },
    READY_MS,
  );

  it('get nothing written outside, nothing read that is not theirs, and cost little memory', async () => {
    await expect(access(CLIMBED)).rejects.toThrow();
    const log = await agent.log();
    expect(log).not.toContain('root:');
    expect(await unforeseen(agent)).toEqual([]);
    const status = await readFile(`/proc/${agent.pid}/status`, 'utf8');
    const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
    process.stdout.write(`hostile archives: at most ${Math.round(peak / MIB)} MiB\n`);
    expect(peak).toBeLessThan(MAX_PEAK_BYTES);
  });

  it('are each reported once, by name, and passed over', async () => {
    const log = await agent.log();
    for (const name of hostile.filter(
      (file) => !['other-image.tar', 'other-bytes.tar', 'layout', 'passwd.tar'].includes(file),
    ))
      expect([name, log.split(`"${name}"`).length - 1]).toEqual([name, 1]);
  });
});
