import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const ROOT = resolve(__dirname, '../..');
/** Most files of `node_modules`, which a process never opens. */
const NEVER_LOADED = /\.(?:map|md|[cm]?ts|flow)$/;
/** What of the last stage says how the image is run; `docker import` takes these lines as they stand. */
const OF_THE_CONFIG = /^(?:ENV|WORKDIR|USER|ENTRYPOINT) .+$/gm;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

interface LockedPackage {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
}

export async function readDockerfile(): Promise<string> {
  return readFile(join(ROOT, 'Dockerfile'), 'utf8');
}

/** Puts into `app` what the Dockerfile's last stage has in its working directory: the packages by the lockfile, and dist/. */
export async function assembleApp(app: string): Promise<void> {
  const lock = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, LockedPackage>>;
  };
  const paths = Object.entries(lock.packages).filter(([path]) => path !== '');
  const omitted = paths.filter(([, { dev, optional, devOptional }]) => dev ?? optional ?? devOptional);
  const leftOut = new Set(omitted.map(([path]) => join(ROOT, path)));
  for (const [path] of paths) {
    const isNested = path.lastIndexOf('node_modules/') > 0;
    if (isNested || leftOut.has(join(ROOT, path))) continue;
    await cp(join(ROOT, path), join(app, path), {
      recursive: true,
      filter: (source) => !leftOut.has(source) && !NEVER_LOADED.test(source),
    });
  }
  for (const path of ['LICENSE', 'package.json', 'dist'])
    await cp(join(ROOT, path), join(app, path), { recursive: true });
}

/**
 * Puts together below `root` a file system as the Dockerfile's: /app on top of a base that has this machine's Node, the
 * shared libraries it is linked with, and next to nothing else. No base image is pulled.
 * @returns the Dockerfile's words on how it is run, as `docker import` takes them for its `changes`
 */
export async function assembleImage(root: string): Promise<readonly string[]> {
  await assembleApp(join(root, 'app'));
  const node = process.execPath;
  await place(node, join(root, 'usr/local/bin/node'));
  const { stdout } = await promisify(execFile)('ldd', [node]);
  for (const [, library = ''] of stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm))
    await place(library, join(root, library));
  for (const directory of ['tmp', 'etc']) await mkdir(join(root, directory), { recursive: true });
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/sbin/nologin\n');
  const dockerfile = await readDockerfile();
  const lastStage = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
  return [`ENV PATH=${PATH}`, ...(lastStage.match(OF_THE_CONFIG) ?? [])];
}

/** A copy of what `source` is in the end, links followed. */
async function place(source: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  await cp(source, target, { dereference: true });
}
