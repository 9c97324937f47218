import fc from 'fast-check';

import { dockerInfo, snapshotOf } from './docker-images.js';

const ID = `sha256:${'a'.repeat(64)}` as const;
const INDEX = `sha256:${'b'.repeat(64)}` as const;
const OTHER = `sha256:${'c'.repeat(64)}` as const;
const CLASSIC = { kind: 'classic', rootDirectory: '/var/lib/docker' } as const;
const CONTAINERD = { kind: 'containerd' } as const;

describe('snapshotOf', () => {
  it('lists familiar names in full, and passes over images without a name', () => {
    const { images, identifiesBy, rootDirectory } = snapshotOf(
      [
        { Id: ID, RepoTags: ['nginx:1', 'team/app:2', 'reg:5000/x/y:3'], RepoDigests: null },
        { Id: OTHER, RepoTags: ['<none>:<none>'], RepoDigests: ['<none>@<none>'] },
        { Id: 'not a digest', RepoTags: ['broken:1'] },
      ],
      CLASSIC,
    );
    expect(identifiesBy).toBe('config');
    expect(rootDirectory).toBe('/var/lib/docker');
    expect([...images]).toEqual([
      ['docker.io/library/nginx:1', { id: ID }],
      ['docker.io/team/app:2', { id: ID }],
      ['reg:5000/x/y:3', { id: ID }],
    ]);
  });

  it('knows the digest of a tag on the classic store where its repository has just one', () => {
    const { images } = snapshotOf(
      [
        {
          Id: ID,
          RepoTags: ['one:1', 'two:1', 'none:1'],
          RepoDigests: [`one@${INDEX}`, `two@${INDEX}`, `two@${OTHER}`],
        },
      ],
      CLASSIC,
    );
    expect(images.get('docker.io/library/one:1')).toEqual({ id: ID, digest: INDEX });
    expect(images.get('docker.io/library/two:1')).toEqual({ id: ID });
    expect(images.get('docker.io/library/none:1')).toEqual({ id: ID });
    expect(images.get(`docker.io/library/two@${OTHER}`)).toEqual({ id: ID, digest: OTHER });
  });

  it('says what an export stages: all layers on the classic store, nothing on the containerd store', () => {
    const listed = [{ Id: ID, RepoTags: ['one:1'], Size: 5000 }];
    const name = 'docker.io/library/one:1';
    expect(snapshotOf(listed, CLASSIC).images.get(name)).toEqual({ id: ID, stagedBytes: 5000 });
    expect(snapshotOf(listed, CONTAINERD).images.get(name)).toEqual({ id: ID, digest: ID });
  });

  it('resolves every repository by the id on the containerd store, whose RepoDigests leave some out', () => {
    const { images, identifiesBy } = snapshotOf(
      [{ Id: ID, RepoTags: ['one:1', `127.0.0.1:5/preheat/n@${ID}`], RepoDigests: null }],
      CONTAINERD,
    );
    expect(identifiesBy).toBe('manifest');
    expect([...images.keys()]).toEqual([
      'docker.io/library/one:1',
      `docker.io/library/one@${ID}`,
      `127.0.0.1:5/preheat/n@${ID}`,
    ]);
    expect(new Set([...images.values()].map((image) => image.digest))).toEqual(new Set([ID]));
  });

  it('takes any names an engine may list', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.array(fc.string()), (RepoTags, RepoDigests) => {
        for (const store of [CLASSIC, CONTAINERD]) snapshotOf([{ Id: ID, RepoTags, RepoDigests }], store);
      }),
    );
  });
});

describe('dockerInfo', () => {
  it.each([
    [{ DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']] }, 'containerd'],
    [{ DriverStatus: [['Backing Filesystem', 'extfs']], DockerRootDir: '/d' }, 'classic'],
    [{ DriverStatus: null }, 'classic'],
    [{}, 'classic'],
  ])('tells the image store from %j', (info, kind) => {
    expect(dockerInfo.parse(info).kind).toBe(kind);
  });
});
