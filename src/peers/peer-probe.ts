import { Injectable } from '@nestjs/common';

import type { HostPort } from '../config/app-config.js';
import { PeerHandshake } from './client/peer-handshake.js';
import { isRefused } from './client/peer-transport.js';
import { canonicalAddress, parseAddress } from './peer-address.js';
import { PeerDirectory } from './peer-directory.js';

/** What is at an address: nothing listens; no telling; none that discovery lists; or an agent, and which. */
export type ProbeResult =
  'refused' | 'silent' | 'unlisted' | { readonly instance: string; readonly node: string };

/** Finds out whether the process behind a lock is still there. */
@Injectable()
export class PeerProbe {
  constructor(
    private readonly directory: PeerDirectory,
    private readonly handshake: PeerHandshake,
  ) {}

  /**
   * Asks who is at `address`, now. Only addresses that discovery lists are dialled, so that a record cannot send us
   * anywhere else; whoever does not prove itself counts as silent. Rejects only when the signal aborts.
   */
  async probe(address: HostPort | string, signal: AbortSignal): Promise<ProbeResult> {
    const target = typeof address === 'string' ? parseAddress(address) : canonicalAddress(address);
    if (!target || !this.directory.lists(target)) return 'unlisted';
    try {
      const { instance, node } = await this.handshake.identify(target, signal);
      return { instance, node };
    } catch (error) {
      signal.throwIfAborted();
      return isRefused(error) ? 'refused' : 'silent';
    }
  }
}
