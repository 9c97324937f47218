import { createHash, randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';

import { Injectable } from '@nestjs/common';
import { z } from 'zod';

import { TEMPORARY_SUFFIX } from '../common/atomic-file.js';
import { errnoOf } from '../common/errno.js';
import { readSmallFile } from '../common/small-file.js';
import { parseShallowJson } from '../domain/shallow-json.js';
import { isMissing } from './disk-errors.js';
import { StoreLayout } from './store-layout.js';
import { StoreLockedError } from './store-locked-error.js';

/** `started` tells a process from a later one that was given the same number; absent where the system does not tell. */
const holderSchema = z.object({ pid: z.number().int().positive(), started: z.string().optional() });
type Holder = z.infer<typeof holderSchema>;

/**
 * `STORE_DIR/.lock`: one agent per store. A lock whose process is gone is broken. Agents in containers of their own
 * cannot see each other's processes: there the mirror's port, which is bound first, keeps them apart.
 */
@Injectable()
export class StoreLock {
  private held: string | undefined;

  constructor(private readonly layout: StoreLayout) {}

  /** @throws StoreLockedError; InvalidInputError `INVALID_FILE` when something else lies at its place */
  async acquire(): Promise<void> {
    const { lockFile } = this.layout;
    const mine = JSON.stringify({ pid: process.pid, started: await startOf(process.pid) });
    const prepared = `${lockFile}.${randomBytes(6).toString('hex')}${TEMPORARY_SUFFIX}`;
    await writeFile(prepared, mine, { mode: 0o600 });
    try {
      while (!(await linked(prepared, lockFile)) && !(await this.replaceDead(prepared)));
    } finally {
      await rm(prepared, { force: true });
    }
    this.held = mine;
  }

  async release(): Promise<void> {
    if (this.held === undefined) return;
    const text = await readFile(this.layout.lockFile, 'utf8').catch(() => '');
    if (text === this.held) await rm(this.layout.lockFile, { force: true });
    this.held = undefined;
  }

  /**
   * Puts `prepared` in the place of the lock of a process that is gone; false when it has to be looked at anew.
   * Of several starters that found the same dead lock, the one that makes the file named after it may replace it.
   */
  private async replaceDead(prepared: string): Promise<boolean> {
    const { lockFile } = this.layout;
    const dead = await this.readDead(lockFile);
    if (dead === undefined) return false;
    const right = `${lockFile}.${createHash('sha256').update(dead).digest('hex').slice(0, 16)}${TEMPORARY_SUFFIX}`;
    if (!(await linked(prepared, right))) {
      // Left by a starter that was killed right here.
      if ((await this.readDead(right)) !== undefined) await rm(right, { force: true });
      return false;
    }
    try {
      if ((await this.readDead(lockFile)) !== dead) return false;
      await rename(prepared, lockFile);
      return true;
    } finally {
      await rm(right, { force: true });
    }
  }

  /**
   * What a lock file says whose process is gone; undefined when there is none.
   * @throws StoreLockedError when it is not gone; InvalidInputError `INVALID_FILE` when it is no file
   */
  private async readDead(path: string): Promise<string | undefined> {
    let text: string;
    try {
      text = (await readSmallFile(path)).toString();
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    const holder = parseHolder(text);
    if (holder && (await isAlive(holder))) throw new StoreLockedError(this.layout.root, holder.pid);
    return text;
  }
}

/** Gives `from` the name `to` as well, unless something has it: the only creation that is atomic with its content. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    return holderSchema.parse(parseShallowJson(text));
  } catch {
    return undefined;
  }
}

async function isAlive({ pid, started }: Holder): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Not ours to signal, but there.
    if (errnoOf(error) !== 'EPERM') return false;
  }
  return started === undefined || started === (await startOf(pid));
}

/** Boot and moment at which process `pid` started, from Linux's /proc; undefined elsewhere, or when it is gone or a zombie. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the name in field 2 may have spaces and parentheses; then come field 3, state, and field 22, starttime.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : `${boot.trim()}/${fields[19] ?? ''}`;
  } catch {
    return undefined;
  }
}
