/** The secret that records are authenticated with: the peer key of this deployment. */
export interface RecordKey {
  /**
   * The keys as they are now (they are re-read when they change), the newest first: records are written with the first
   * and believed with any, so that a change of the key costs no record. Undefined with `PEER_AUTH=none`: records carry
   * no MAC then. Throws when there should be a key and it cannot be had; nothing is read or written without it.
   */
  current(): Promise<readonly Buffer[] | undefined>;

  /** A record carries the MAC of a key that is none of these: perhaps the key was changed. May be called often. */
  suspect(): void;
}
export const RecordKey = Symbol('RecordKey');
