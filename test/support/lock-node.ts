import type { Clock } from '../../src/common/clock.js';
import type { HolderProbe } from '../../src/lock/holder-probe.js';
import { HolderProof } from '../../src/lock/holder-proof.js';
import { LeaseKeeper } from '../../src/lock/lease-keeper.js';
import { LockService } from '../../src/lock/lock.service.js';
import type { LockStore } from '../../src/lock/lock-store.js';
import { RecordBook } from '../../src/lock/record-book.js';
import type { RecordCache } from '../../src/lock/record-cache.js';
import type { RecordKey } from '../../src/lock/record-key.js';
import { RecordInterpreter } from '../../src/lock/record-interpreter.js';
import { TurnOrder } from '../../src/lock/turn-order.js';

/** One agent's lock, put together by hand; what is left out is as harmless as it gets. */
export interface LockNodeOptions {
  readonly store: LockStore;
  readonly clock: Clock;
  readonly node: string;
  /** Default: `<node>-1`. */
  readonly instance?: string;
  /** Default: `<node>:8080`. */
  readonly address?: string;
  /** Default: nobody can be asked. */
  readonly probe?: HolderProbe;
  /** Names of the live peers' nodes. */
  readonly nodes?: () => readonly string[];
  readonly timeoutMs?: number;
  readonly tagTtlMs?: number;
  /** Default: records carry no MAC. */
  readonly key?: RecordKey;
  readonly cache?: RecordCache;
}

export class LockNode {
  readonly lock: LockService;
  readonly keeper: LeaseKeeper;

  constructor({ store, clock, node, ...options }: LockNodeOptions) {
    const identity = {
      node,
      instance: options.instance ?? `${node}-1`,
      address: options.address ?? `${node}:8080`,
    };
    const config = {
      lock: { backend: 'memory', timeoutMs: options.timeoutMs ?? 300_000 },
      tagTtlMs: options.tagTtlMs ?? 86_400_000,
    } as const;
    const cache = options.cache ?? new MemoryRecordCache();
    const probe = options.probe ?? { probe: () => Promise.resolve('silent') };
    const nodes = { nodes: options.nodes ?? (() => []) };
    const key = options.key ?? { current: () => Promise.resolve(undefined), suspect: () => undefined };
    const book = new RecordBook(store, key, cache, clock, config);
    this.keeper = new LeaseKeeper(book, identity, clock, config, { lockHeld: () => undefined });
    this.lock = new LockService(
      book,
      new RecordInterpreter(new HolderProof(probe, clock), identity, clock, config),
      new TurnOrder(nodes, identity, clock),
      this.keeper,
    );
  }
}

/** Survives a `LockNode`, as `STORE_DIR` survives a process. */
export class MemoryRecordCache implements RecordCache {
  private records: ReadonlyMap<string, string> = new Map();
  isWritable = true;

  load(): Promise<ReadonlyMap<string, string>> {
    return Promise.resolve(this.records);
  }

  save(records: ReadonlyMap<string, string>): Promise<boolean> {
    if (this.isWritable) this.records = new Map(records);
    return Promise.resolve(this.isWritable);
  }
}
