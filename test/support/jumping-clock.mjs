/** Loaded before an agent (NODE_OPTIONS=--import): each SIGUSR2 sets its wall clock an hour ahead, an hour back, right again. */
import process from 'node:process';

const HOUR_MS = 3_600_000;
const OFFSETS_MS = [HOUR_MS, -HOUR_MS, 0];
const RealDate = Date;
let turn = 0;
let offsetMs = 0;

process.on('SIGUSR2', () => {
  offsetMs = OFFSETS_MS[turn % OFFSETS_MS.length];
  turn += 1;
});

globalThis.Date = class extends RealDate {
  constructor(...values) {
    if (values.length === 0) super(RealDate.now() + offsetMs);
    else super(...values);
  }

  static now() {
    return RealDate.now() + offsetMs;
  }
};
