import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { request } from 'undici';

import { ChildDaemon } from '../support/child-daemon.js';
import { freePort } from '../support/free-port.js';
import { assembleApp, readDockerfile } from '../support/image-filesystem.js';

const ROOT = resolve(__dirname, '../..');
/** sysexits' EX_CONFIG. */
const BAD_CONFIGURATION = 78;
const TIMEOUT_MS = 60_000;

/** Images cannot be built without a base image: the last stage's folder is put together here as the Dockerfile does. */
describe('what the Dockerfile puts into /app', () => {
  let app: string;
  let dockerfile: string;

  beforeAll(async () => {
    if (!existsSync(join(ROOT, 'dist/main.js'))) throw new Error('run `npm run build` first');
    app = mkdtempSync(join(tmpdir(), 'preheat-image-'));
    await assembleApp(app);
    dockerfile = await readDockerfile();
  }, TIMEOUT_MS);

  afterAll(() => rmSync(app, { recursive: true, force: true }));

  it('is put together here as it is there', () => {
    expect(dockerfile).toContain('RUN npm install --omit=dev --omit=optional ');
    expect(dockerfile).toContain('COPY LICENSE package.json ./');
    expect(dockerfile).toContain('COPY --from=dependencies /app/node_modules node_modules');
    expect(dockerfile).toContain('COPY --from=build /app/dist dist');
    expect(dockerfile).toContain('ENTRYPOINT ["node", "--max-semi-space-size=4", "dist/main.js"]');
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
