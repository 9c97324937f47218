/**
 * What was found at the address of a lock holder: nothing listens there, no answer, an address of nobody that the
 * peer discovery knows, or the agent that answered.
 */
export type ProbeResult =
  'refused' | 'silent' | 'unlisted' | { readonly instance: string; readonly node: string };

/** Asks an address who is there: the proof on which a lock is taken over before its time. */
export interface HolderProbe {
  /**
   * Dials only addresses that the peer discovery lists, any other is `unlisted`. Everything but a refused connection or
   * an authenticated answer is `silent`. Rejects only with the signal's reason.
   * @param address `host:port` or `[v6]:port`
   */
  probe(address: string, signal: AbortSignal): Promise<ProbeResult>;
}
export const HolderProbe = Symbol('HolderProbe');
