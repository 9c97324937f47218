import fc from 'fast-check';

import { decideClaim, type OriginMark } from './claim.js';

/** One holder running the protocol step by step: ask the others, claim when nobody has, ask again, decide. */
interface Holder {
  readonly key: string;
  mark: OriginMark | undefined;
  complete: boolean;
  reads: number;
  /** Answers gathered so far in this round. */
  answers: { complete: boolean; origin?: OriginMark }[];
  asked: number;
}

function step(holder: Holder, others: readonly Holder[]): void {
  if (holder.complete) return;
  if (holder.mark?.state === 'reading') {
    holder.complete = true;
    holder.mark = undefined;
    return;
  }
  const next = others[holder.asked];
  if (next) {
    holder.answers.push({ complete: next.complete, ...(next.mark ? { origin: next.mark } : {}) });
    holder.asked += 1;
    return;
  }
  const { answers } = holder;
  holder.answers = [];
  holder.asked = 0;
  if (!holder.mark) {
    if (answers.some(({ complete }) => complete)) holder.complete = true;
    else if (!answers.some(({ origin }) => origin)) holder.mark = { state: 'claimed', key: holder.key };
    return;
  }
  const decision = decideClaim(holder.key, answers);
  if (decision === 'read') {
    holder.mark = { state: 'reading', key: holder.key };
    holder.reads += 1;
  } else if (decision === 'take') {
    holder.complete = true;
    holder.mark = undefined;
  } else if (decision === 'yield') {
    holder.mark = undefined;
  }
}

describe('decideClaim', () => {
  it('lets exactly one of any number of holders read, in any interleaving, and everybody ends with the blob', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.nat(), { maxLength: 400 }),
        (count, schedule) => {
          const holders = Array.from({ length: count }, (_, index): Holder => {
            return { key: `k${index}`, mark: undefined, complete: false, reads: 0, answers: [], asked: 0 };
          });
          const run = (index: number) => {
            const holder = holders[index % count]!;
            step(
              holder,
              holders.filter((other) => other !== holder),
            );
          };
          schedule.forEach(run);
          for (let turn = 0; turn < 200 * count; turn += 1) run(turn);
          expect(holders.reduce((sum, { reads }) => sum + reads, 0)).toBe(1);
          expect(holders.every(({ complete }) => complete)).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });
});
