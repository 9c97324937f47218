import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, stdout } from 'node:process';

const KINDS = [
  'bad inputs tried',
  'faults injected',
  'survived',
  'wrong bytes committed',
  'unauthorised answers given',
];
const MUST_BE_NONE = ['wrong bytes committed', 'unauthorised answers given'];

/** Adds up what the suites have counted (tally.ts), prints it after the last one, and fails the run where it is bad. */
export default class TallyReporter {
  #directory = mkdtempSync(join(tmpdir(), 'tally-'));
  #error;

  constructor() {
    // Before the first worker starts, so that all of them inherit it.
    env.TALLY_DIRECTORY = this.#directory;
  }

  onRunComplete() {
    const lines = readdirSync(this.#directory).flatMap((name) =>
      readFileSync(join(this.#directory, name), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line)),
    );
    rmSync(this.#directory, { recursive: true });
    if (lines.length === 0) return;
    const counts = new Map(KINDS.map((kind) => [kind, 0]));
    for (const { kind, count } of lines) if (kind) counts.set(kind, counts.get(kind) + count);
    this.#print(lines, counts);
    const bad = MUST_BE_NONE.filter((kind) => counts.get(kind) > 0);
    if (counts.get('survived') < counts.get('faults injected')) bad.push('faults that were not survived');
    if (bad.length > 0) this.#error = new Error(`there must be none: ${bad.join(', ')}`);
  }

  getLastError() {
    return this.#error;
  }

  #print(lines, counts) {
    const faults = lines.filter(({ fault }) => fault);
    const seeds = lines.filter(({ seed }) => seed !== undefined);
    const print = (text) => stdout.write(`${text}\n`);
    if (seeds.length > 0)
      print(`\nFuzzed with ${[...new Set(seeds.map(({ seed }) => `FUZZ_SEED=${seed}`))].join(', ')}`);
    if (faults.length > 0) print('\nFault matrix');
    const width = Math.max(...faults.map(({ fault }) => fault.length));
    for (const { fault, outcome, seen } of faults) print(`  ${fault.padEnd(width)}  ${outcome}  ${seen}`);
    print('');
    for (const [kind, count] of counts) print(`${kind}: ${count}`);
  }
}
