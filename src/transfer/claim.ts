/** A node's word that it is reading a blob from the registry, or means to. */
export interface OriginMark {
  /** `claimed` while the node still asks around, `reading` once it has decided to. */
  readonly state: 'claimed' | 'reading';
  /** Decides between two that claim at once: the lower one reads. */
  readonly key: string;
}

/** What another node says of a blob that this node has claimed. */
export interface ClaimAnswer {
  readonly complete: boolean;
  readonly origin?: OriginMark;
}

/**
 * What to do about a blob that this node has marked `claimed` with `key`, after it asked the others:
 *
 * - `take`: somebody has it already.
 * - `yield`: drop the mark and take the blob from whoever reads it, once they have it.
 * - `wait`: keep the mark and ask again: a node with a higher key has claimed it too, and has either not seen our mark
 *   yet (it will yield) or asked us before we made it (it will be reading).
 * - `read`: mark it `reading` and read it; nobody else will.
 *
 * A node claims only when it has just seen no mark of anyone's (else two that step alike could yield and claim forever).
 * Both marks are made before either asks, so at least one of two sees the other. The one with the lower key does not
 * trust a mere claim to yield, it waits to see it: that is what keeps two from reading when only one saw the other.
 */
export function decideClaim(
  key: string,
  answers: readonly ClaimAnswer[],
): 'take' | 'yield' | 'wait' | 'read' {
  if (answers.some(({ complete }) => complete)) return 'take';
  const marks = answers.flatMap(({ origin }) => (origin ? [origin] : []));
  if (marks.some(({ state }) => state === 'reading')) return 'yield';
  if (marks.some((mark) => mark.key < key)) return 'yield';
  return marks.length > 0 ? 'wait' : 'read';
}
