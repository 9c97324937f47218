/** One end of flows: a node's link, as wide one way as the other. */
export interface LinkEnd {
  /** Its place in the list of all. */
  readonly number: number;
  readonly bytesPerMs: number;
}

/** Bytes on their way; without a sender, from a source whose link is no limit. */
export interface Flow {
  readonly from: LinkEnd | undefined;
  readonly to: LinkEnd;
  leftBytes: number;
  bytesPerMs: number;
}

const ROUNDS = 4;
const NOTHING = 1e-6;

/** Gives every flow its fair share of both links: in rounds, the smaller of what both its ends have left to share out. */
export function shareLinks(ends: readonly LinkEnd[], flows: Iterable<Flow>): void {
  const up = Float64Array.from(ends, ({ bytesPerMs }) => bytesPerMs);
  const down = Float64Array.from(up);
  const all = [...flows];
  for (const flow of all) flow.bytesPerMs = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const open = all.filter(
      ({ from, to }) => (from === undefined || leftOf(up, from) > NOTHING) && leftOf(down, to) > NOTHING,
    );
    if (open.length === 0) return;
    const ups = new Uint16Array(ends.length);
    const downs = new Uint16Array(ends.length);
    for (const { from, to } of open) {
      if (from) ups[from.number] = (ups[from.number] ?? 0) + 1;
      downs[to.number] = (downs[to.number] ?? 0) + 1;
    }
    const shares = open.map(({ from, to }) =>
      Math.min(
        from ? leftOf(up, from) / (ups[from.number] ?? 1) : Infinity,
        leftOf(down, to) / (downs[to.number] ?? 1),
      ),
    );
    for (const [position, flow] of open.entries()) {
      const share = shares[position] ?? 0;
      flow.bytesPerMs += share;
      if (flow.from) up[flow.from.number] = leftOf(up, flow.from) - share;
      down[flow.to.number] = leftOf(down, flow.to) - share;
    }
  }
}

function leftOf(links: Float64Array, { number }: LinkEnd): number {
  return links[number] ?? 0;
}
