import type { ContainerdEngineOptions } from './containerd-engine.js';
import { describeUnless, describeWherePossible, describeWith, type Engine } from './engines.js';
import { newerContainerd } from './newer-containerd.js';

/**
 * The suite once per containerd: this machine's (1.6 on Debian 12), Debian 13's (1.7), and one of 2.x where it can be had.
 * @param engines what the suite needs beside containerd
 */
export function describeContainerds(
  name: string,
  engines: readonly Engine[],
  suite: (options: Pick<ContainerdEngineOptions, 'binDirectory'>) => void,
): void {
  describeWith(['containerd', ...engines], `${name}, this machine's containerd`, () => suite({}));

  const trixie = newerContainerd('trixie');
  const trixieMissing = 'missing' in trixie ? trixie.missing : undefined;
  describeUnless(trixieMissing, `${name}, containerd 1.7`, () => {
    if (!('missing' in trixie)) suite(trixie);
  });

  const sid = newerContainerd('sid');
  const sidMissing = 'missing' in sid ? sid.missing : undefined;
  describeWherePossible(sidMissing, `${name}, containerd 2.x`, () => {
    if (!('missing' in sid)) suite(sid);
  });
}
