import { type Digest, isDigest } from './digest.js';
import { InvalidInputError } from './errors.js';

/** A reference as Docker normalises it: `nginx` is `docker.io/library/nginx:latest`. At least one of tag and digest is set. */
export interface ImageReference {
  /** Host with optional port; `docker.io` for Docker Hub. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const MAX_REPOSITORY_LENGTH = 255;
const MAX_LENGTH = 512;
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const HOST_LABEL = /^(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])$/;
const IPV6_HOST = /^\[[0-9a-fA-F:]+\]$/;
const IMAGE_ID = /^[0-9a-f]{64}$/;

/** Grammar: distribution/reference. @throws InvalidInputError `INVALID_REFERENCE`, naming the value and what is wrong. */
export function parseImageReference(text: string): ImageReference {
  const reject = (why: string): never => {
    throw new InvalidInputError(
      'INVALID_REFERENCE',
      `${JSON.stringify(shorten(text))} is not an image reference: ${why}`,
    );
  };
  if (text === '') return reject('it is empty');
  if (text.length > MAX_LENGTH)
    return reject(`it has ${text.length} characters; at most ${MAX_LENGTH} are accepted`);

  const [beforeDigest = '', digest, ...more] = text.split('@');
  if (more.length > 0) return reject('it has more than one "@"');
  if (digest !== undefined && !isDigest(digest))
    return reject('the digest must be "sha256:" and 64 lower-case hex digits');

  const colon = beforeDigest.indexOf(':', beforeDigest.lastIndexOf('/') + 1);
  const name = colon === -1 ? beforeDigest : beforeDigest.slice(0, colon);
  const tag = colon === -1 ? undefined : beforeDigest.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) {
    return reject(
      'the tag must be 1 to 128 of letters, digits, "_", "." and "-", and must not begin with "." or "-"',
    );
  }

  if (IMAGE_ID.test(name)) return reject('64 hex digits are an image id, not a name');

  const { registry, repository } = splitName(name);
  if (!isRegistryHost(registry))
    return reject(
      `${JSON.stringify(shorten(registry))} is not a registry host with an optional port from 1 to 65535`,
    );
  const path = registry === 'docker.io' && !repository.includes('/') ? `library/${repository}` : repository;
  if (path.length > MAX_REPOSITORY_LENGTH)
    return reject(`the repository has more than ${MAX_REPOSITORY_LENGTH} characters`);
  if (!path.split('/').every((component) => PATH_COMPONENT.test(component))) {
    return reject('a repository is lower-case letters and digits, parted by ".", "_", "__", "-" or "/"');
  }
  if (digest === undefined) return { registry, repository: path, tag: tag ?? 'latest' };
  return { registry, repository: path, ...(tag === undefined ? {} : { tag }), digest };
}

/** The canonical form, as it stands in metrics, records and `GET /images`. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${repositoryName(reference)}${tag}${digest}`;
}

/** `registry/repository`, without tag or digest. */
export function repositoryName({ registry, repository }: ImageReference): string {
  return `${registry}/${repository}`;
}

/** `registry/repository@digest`. */
export function digestName(reference: ImageReference, digest: Digest): string {
  return `${repositoryName(reference)}@${digest}`;
}

/** The first component is a host if it has a dot, a colon or capitals, or is `localhost` (Docker's rule). */
function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  if (slash === -1 || !(/[.:A-Z]/.test(first) || first === 'localhost'))
    return { registry: 'docker.io', repository: name };
  return { registry: first === 'index.docker.io' ? 'docker.io' : first, repository: name.slice(slash + 1) };
}

/** True for `host`, `host:port`, `[v6]` and `[v6]:port` with a port from 1 to 65535 that a URL can name. */
export function isRegistryHost(text: string): boolean {
  const match = /^(\[[^\]]*\]|[^:]+)(?::(\d{1,5}))?$/.exec(text);
  if (!match?.[1] || text.length > 261) return false;
  const port = match[2] === undefined ? 1 : Number(match[2]);
  const host = match[1];
  return (
    port >= 1 &&
    port <= 65535 &&
    (IPV6_HOST.test(host) || host.split('.').every((label) => HOST_LABEL.test(label))) &&
    // Such as [:::] and 256.256.256.256: the grammar lets them pass, and no request could be made.
    URL.canParse(`http://${text}/`)
  );
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
