import { InvalidInputError } from '../../domain/errors.js';
import { formatReference, parseImageReference } from '../../domain/image-reference.js';

/** Canonical names out of names as archives have them; what is no reference is passed over. */
export function canonicalNames(names: readonly (string | undefined)[]): string[] {
  const canonical = new Set<string>();
  for (const name of names) {
    const reference = name === undefined ? undefined : canonicalName(name);
    if (reference !== undefined) canonical.add(reference);
  }
  return [...canonical];
}

/**
 * `org.opencontainers.image.ref.name` is a whole reference (skopeo, umoci) or the tag alone (Docker, buildx): a bare word is
 * taken for a tag, which names no image.
 */
export function wholeReference(refName: string | undefined): string | undefined {
  return refName !== undefined && /[/:@]/.test(refName) ? refName : undefined;
}

function canonicalName(name: string): string | undefined {
  try {
    return formatReference(parseImageReference(name));
  } catch (error) {
    if (error instanceof InvalidInputError) return undefined;
    throw error;
  }
}
