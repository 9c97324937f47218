/**
 * Prints a CycloneDX 1.5 bill of the packages that the container image gets, from package-lock.json: the same text for the
 * same lockfile. `npm sbom --omit dev` would leave out what a development package needs too, rxjs and Nest among it.
 */
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { stdout } from 'node:process';
import { URL } from 'node:url';

const read = (name) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'));
const { name, version, license } = read('package.json');
const { packages } = read('package-lock.json');

const purlOf = (packageName, of) => `pkg:npm/${packageName.replace('@', '%40')}@${of}`;

/** `sha512-<base64>` as CycloneDX has it. */
function hashesOf(integrity = '') {
  return integrity.split(' ').flatMap((entry) => {
    const [algorithm, base64] = [entry.slice(0, entry.indexOf('-')), entry.slice(entry.indexOf('-') + 1)];
    if (!/^sha(?:256|384|512)$/.test(algorithm)) return [];
    return [{ alg: `SHA-${algorithm.slice(3)}`, content: Buffer.from(base64, 'base64').toString('hex') }];
  });
}

// The Dockerfile omits both kinds.
const shipped = Object.entries(packages).filter(
  ([path, { dev, optional, devOptional }]) => path !== '' && !dev && !optional && !devOptional,
);
const components = shipped.map(([path, entry]) => {
  const packageName = entry.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  return {
    type: 'library',
    'bom-ref': path,
    name: packageName,
    version: entry.version,
    purl: purlOf(packageName, entry.version),
    hashes: hashesOf(entry.integrity),
    ...(entry.license ? { licenses: [{ expression: entry.license }] } : {}),
  };
});
const bom = {
  $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  metadata: {
    component: {
      type: 'application',
      'bom-ref': name,
      name,
      version,
      purl: purlOf(name, version),
      licenses: [{ expression: license }],
    },
  },
  components,
};
stdout.write(`${JSON.stringify(bom, undefined, 2)}\n`);
