/** The secret that records are authenticated with: the peer key of this deployment. */
export interface RecordKey {
  /**
   * The key as it is now (it is re-read when it changes), or undefined with `PEER_AUTH=none`: records carry no MAC then.
   * Throws when there should be a key and it cannot be had; nothing is read or written without it.
   */
  current(): Promise<Buffer | undefined>;
}
export const RecordKey = Symbol('RecordKey');
