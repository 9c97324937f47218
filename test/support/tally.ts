import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the hostile suites and the fault matrix count. */
export type TallyKind =
  | 'bad inputs tried'
  | 'faults injected'
  | 'survived'
  /** Both must stay 0: the run fails where they do not, whatever a suite made of it. */
  | 'wrong bytes committed'
  | 'unauthorised answers given';

/** One line of what a suite has counted, as `tally-reporter.mjs` reads it. */
export type TallyLine =
  | { readonly kind: TallyKind; readonly count: number }
  /** A row of the fault matrix. */
  | { readonly fault: string; readonly outcome: 'survived' | 'failed'; readonly seen: string }
  /** What one needs to repeat a random run. */
  | { readonly seed: number; readonly of: string };

/** Each suite runs in a process of its own: every one writes a file, and the reporter adds them up at the end. */
const FILE = `${process.pid}-${randomBytes(4).toString('hex')}.jsonl`;

/** Adds to the counts that are printed after the last suite; nobody reads them when a suite runs without the reporter. */
export function tally(kind: TallyKind, count = 1): void {
  write({ kind, count });
}

export function tallyLine(line: TallyLine): void {
  write(line);
}

function write(line: TallyLine): void {
  const directory = process.env['TALLY_DIRECTORY'];
  if (directory !== undefined) appendFileSync(join(directory, FILE), `${JSON.stringify(line)}\n`);
}
