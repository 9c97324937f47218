import type { Digest } from '../domain/digest.js';

export interface TagQuestion {
  /** Undefined when the client did not say which registry it means. */
  readonly registry: string | undefined;
  readonly repository: string;
  readonly tag: string;
}

/** What a tag means right now, for `/v2` clients that ask by tag. */
export interface TagResolver {
  /** Undefined when nothing fresh is known about it, or the question has two answers. */
  digestOf(question: TagQuestion): Promise<Digest | undefined>;
}
export const TagResolver = Symbol('TagResolver');
