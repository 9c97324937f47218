/** Who this process is in the records that it holds. */
export interface LockIdentity {
  readonly node: string;
  /** Random id of this process, the same that peers hear in the handshake. */
  readonly instance: string;
  /** Where peers reach it: `host:port` or `[v6]:port`. */
  readonly address: string;
}
export const LockIdentity = Symbol('LockIdentity');
