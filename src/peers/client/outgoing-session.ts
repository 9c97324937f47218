import { IDENTITY_HEADERS, type PeerIdentity } from '../peer-identity.js';
import { formatAuthorization } from '../session/authorization-header.js';
import { requestMac, type SessionKeys } from '../session/handshake-proof.js';

/** A session with the agent at one address: signs requests to it. */
export class OutgoingSession {
  private counter = 0;

  constructor(
    readonly identity: PeerIdentity,
    private readonly self: PeerIdentity,
    /** Undefined with `PEER_AUTH=none`: requests only say who we are. */
    private readonly keys: SessionKeys | undefined,
    /** On the monotonic clock. */
    readonly renewAtMs: number,
  ) {}

  /** Headers that prove one request; each call counts, so they are good once. */
  headersFor(method: string, path: string, range: string | undefined): Record<string, string> {
    const names = {
      [IDENTITY_HEADERS.node]: this.self.node,
      [IDENTITY_HEADERS.instance]: this.self.instance,
    };
    if (!this.keys) return names;
    this.counter += 1;
    const { id: session, secret } = this.keys;
    const mac = requestMac(secret, { method, path, range, counter: this.counter });
    return { ...names, Authorization: formatAuthorization({ session, counter: this.counter, mac }) };
  }
}
