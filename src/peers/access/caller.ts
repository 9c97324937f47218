import type { Request } from 'express';

import type { PeerIdentity } from '../peer-identity.js';

/** The agent behind a request. */
export type Caller = Pick<PeerIdentity, 'node' | 'instance'>;

const callers = new WeakMap<Request, Caller>();

export function setCaller(request: Request, caller: Caller): void {
  callers.set(request, caller);
}

/** Who proved to be an agent with this request (or, with `PEER_AUTH=none`, says so). Undefined: a person or a tool. */
export function callerOf(request: Request): Caller | undefined {
  return callers.get(request);
}
