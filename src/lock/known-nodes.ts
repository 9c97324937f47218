/** The nodes this agent knows of: among them it is decided who tries for a lock first. */
export interface KnownNodes {
  /** Names of the live peers' nodes; whether this node is among them does not matter. */
  nodes(): readonly string[];
}
export const KnownNodes = Symbol('KnownNodes');
