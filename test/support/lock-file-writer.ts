/** One process of the file store's crash test: counts a record up by swaps, and tells each number that it has set. */
import { writeSync } from 'node:fs';

import { systemClock } from '../../src/common/clock.js';
import { FileLockStore } from '../../src/lock/file/file-lock-store.js';

const [, , path = '', key = ''] = process.argv;
const store = new FileLockStore(path, systemClock);
const { signal } = new AbortController();
// The waits of the store do not keep a process alive by themselves.
setInterval(() => undefined, 60_000);
for (;;) {
  const current = (await store.read('latest', signal)).get(key);
  const next = String(Number(current ?? '0') + 1);
  if (await store.compareAndSwap(key, current, next, signal)) writeSync(1, `${next}\n`);
}
