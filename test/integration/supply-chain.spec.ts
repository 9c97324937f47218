import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(__dirname, '..', '..');

interface Package {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
}
interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly link?: boolean }>>;
}
interface Bom {
  readonly bomFormat: string;
  readonly components: readonly { readonly name: string; readonly hashes?: readonly object[] }[];
}

const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(ROOT, name), 'utf8')) as T;

describe('What this program is made of', () => {
  it('is pinned: one version of each package, and the hash of what it holds', async () => {
    const { dependencies = {}, devDependencies = {} } = await read<Package>('package.json');
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
    );
    expect(loose).toEqual([]);
    const { packages } = await read<Lockfile>('package-lock.json');
    const unhashed = Object.entries(packages).filter(([path, { integrity }]) => path !== '' && !integrity);
    expect(unhashed.map(([path]) => path)).toEqual([]);
  });

  it('is listed by `npm run sbom`: every package that the container image gets', async () => {
    const { dependencies = {}, scripts } = await read<Package>('package.json');
    const [program = '', ...args] = (scripts['sbom'] ?? '').split(' ');
    const { stdout } = await promisify(execFile)(program, args, { cwd: ROOT, maxBuffer: 64 * 1024 * 1024 });
    const { bomFormat, components } = JSON.parse(stdout) as Bom;
    expect(bomFormat).toBe('CycloneDX');
    const names = new Set(components.map(({ name }) => name));
    expect(Object.keys(dependencies).filter((name) => !names.has(name))).toEqual([]);
    expect(components.filter(({ hashes = [] }) => hashes.length === 0)).toEqual([]);
    // What developers alone need is not in it.
    expect(names.has('jest')).toBe(false);
  }, 60_000);
});
