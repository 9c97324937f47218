import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { request } from 'undici';

import { ChildDaemon } from '../support/child-daemon.js';
import { freePort } from '../support/free-port.js';

const ROOT = resolve(__dirname, '../..');
const DOCKERFILE = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');
/** Most files of `node_modules`, which a process never opens. */
const NEVER_LOADED = /\.(?:map|md|[cm]?ts|flow)$/;
/** sysexits' EX_CONFIG. */
const BAD_CONFIGURATION = 78;
const TIMEOUT_MS = 60_000;

interface LockedPackage {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
}

/** Images cannot be built without a base image: the last stage's folder is put together here as the Dockerfile does. */
describe('what the Dockerfile puts into /app', () => {
  let app: string;

  beforeAll(() => {
    if (!existsSync(join(ROOT, 'dist/main.js'))) throw new Error('run `npm run build` first');
    app = mkdtempSync(join(tmpdir(), 'preheat-image-'));
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Readonly<Record<string, LockedPackage>>;
    };
    const nested = (path: string) => path.lastIndexOf('node_modules/') > 0;
    const omitted = Object.entries(lock.packages)
      .filter(([path, { dev, optional, devOptional }]) => path !== '' && (dev ?? optional ?? devOptional))
      .map(([path]) => path);
    const leftOut = new Set(omitted.map((path) => join(ROOT, path)));
    for (const [path] of Object.entries(lock.packages))
      if (path !== '' && !nested(path) && !leftOut.has(join(ROOT, path)))
        cpSync(join(ROOT, path), join(app, path), {
          recursive: true,
          filter: (source) => !leftOut.has(source) && !NEVER_LOADED.test(source),
        });
    for (const path of ['package.json', 'dist'])
      cpSync(join(ROOT, path), join(app, path), { recursive: true });
  }, TIMEOUT_MS);

  afterAll(() => rmSync(app, { recursive: true, force: true }));

  it('is put together here as it is there', () => {
    expect(DOCKERFILE).toContain('RUN npm install --omit=dev --omit=optional ');
    expect(DOCKERFILE).toContain('COPY LICENSE package.json ./');
    expect(DOCKERFILE).toContain('COPY --from=dependencies /app/node_modules node_modules');
    expect(DOCKERFILE).toContain('COPY --from=build /app/dist dist');
    expect(DOCKERFILE).toContain('ENTRYPOINT ["node", "--max-semi-space-size=4", "dist/main.js"]');
    expect(existsSync(join(app, 'node_modules/typescript'))).toBe(false);
    expect(existsSync(join(app, 'node_modules/jest'))).toBe(false);
  });

  it('refuses a bad setting with one message and exit code 78', () => {
    const { status, stderr } = spawnSync(process.execPath, ['dist/main.js'], {
      cwd: app,
      env: { PORT: '99999', INTERVAL: 'soon' },
      encoding: 'utf8',
    });
    expect(status).toBe(BAD_CONFIGURATION);
    expect(stderr).toMatch(/PORT.*99999/);
    expect(stderr).toMatch(/INTERVAL.*soon/);
  });

  it(
    "has containerd's protocols with it",
    async () => {
      const [port, mirrorPort] = [await freePort(), await freePort()];
      const list = join(app, 'containerd.list');
      writeFileSync(list, 'registry.example/team/app:1\n');
      const agent = ChildDaemon.start({
        command: process.execPath,
        args: [join(app, 'dist/main.js')],
        outFile: join(app, 'out.log'),
        errFile: join(app, 'err.log'),
        env: {
          PORT: String(port),
          MIRROR_PORT: String(mirrorPort),
          RUNTIME: 'containerd',
          CONTAINERD_ADDRESS: join(app, 'containerd.sock'),
          STORE_DIR: join(app, 'store'),
          IMAGE_LIST_PATH: list,
          MOUNT_DIR: join(app, 'archives'),
        },
      });
      try {
        const probe = async (): Promise<void> => {
          const { body } = await request(`http://127.0.0.1:${port}/images`);
          const { images } = (await body.json()) as { images: { state: string; message?: string }[] };
          expect(images[0]?.message).toContain('cannot be asked: connect ENOENT');
        };
        await agent.ready(probe, TIMEOUT_MS / 2);
      } finally {
        await agent.stop();
      }
    },
    TIMEOUT_MS,
  );

  it(
    'serves its API without a single development dependency, and ends on SIGTERM',
    async () => {
      const [port, mirrorPort] = [await freePort(), await freePort()];
      const agent = ChildDaemon.start({
        command: process.execPath,
        args: [join(app, 'dist/main.js')],
        outFile: join(app, 'out.log'),
        errFile: join(app, 'err.log'),
        env: {
          NODE_ENV: 'production',
          PORT: String(port),
          MIRROR_PORT: String(mirrorPort),
          RUNTIME: 'directory',
          STORE_DIR: join(app, 'store'),
          IMAGE_LIST_PATH: join(app, 'images.list'),
          MOUNT_DIR: join(app, 'archives'),
        },
      });
      try {
        await agent.ready(() => request(`http://127.0.0.1:${port}/health`), TIMEOUT_MS / 2);
        for (const path of ['health', 'images', 'metrics', 'docs-json']) {
          const { statusCode, body } = await request(`http://127.0.0.1:${port}/${path}`);
          await body.dump();
          expect({ path, statusCode }).toEqual({ path, statusCode: 200 });
        }
      } finally {
        const startMs = performance.now();
        await agent.stop();
        expect(performance.now() - startMs).toBeLessThan(10_000);
      }
    },
    TIMEOUT_MS,
  );
});
