import { InvalidInputError } from './errors.js';

/** `os/architecture[/variant]` in Go's names, as OCI image configs and indexes write them. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

const PART = /^[a-z0-9][a-z0-9._-]{0,31}$/;

/** @throws InvalidInputError `INVALID_PLATFORM` */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  const [os, architecture, variant] = parts;
  if (parts.length > 3 || !os || !architecture || !parts.every((part) => PART.test(part))) {
    throw new InvalidInputError(
      'INVALID_PLATFORM',
      `"${text.slice(0, 100)}" is not a platform: os/architecture[/variant] is accepted, such as linux/arm64`,
    );
  }
  return normalise({ os, architecture, ...(variant === undefined ? {} : { variant }) });
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Drops variants that say nothing: arm64 is v8 and amd64 is v1 unless said otherwise (as containerd normalises). */
function normalise(platform: Platform): Platform {
  const { os, architecture, variant } = platform;
  const implied =
    (architecture === 'arm64' && variant === 'v8') || (architecture === 'amd64' && variant === 'v1');
  return implied ? { os, architecture } : platform;
}

/**
 * How well an image made for `offered` suits a node of `wanted`: 0 not at all, higher is better.
 * A 32-bit ARM node runs older variants too (v7 runs v6 and v5).
 */
export function platformScore(wanted: Platform, offered: Platform): number {
  const want = normalise(wanted);
  const offer = normalise(offered);
  if (want.os !== offer.os || want.architecture !== offer.architecture) return 0;
  if (want.variant === offer.variant) return 100;
  if (want.architecture === 'arm') {
    const wantLevel = armLevel(want.variant);
    const offerLevel = armLevel(offer.variant);
    return offerLevel <= wantLevel ? 10 + offerLevel : 0;
  }
  // A plain entry suits every variant of its architecture; a special one only those who asked for it.
  return offer.variant === undefined ? 50 : 0;
}

function armLevel(variant: string | undefined): number {
  return variant === undefined ? 7 : Number(/^v(\d)$/.exec(variant)?.[1] ?? 99);
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  arm: 'arm',
  arm64: 'arm64',
};

/** The platform of a Node.js process, from `process.platform` and `process.arch`. */
export function platformOfProcess(os: string, arch: string): Platform {
  return { os: os === 'win32' ? 'windows' : os, architecture: ARCHITECTURES[arch] ?? arch };
}
