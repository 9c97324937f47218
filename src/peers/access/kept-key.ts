/**
 * The peer key on this node's disk, for an agent that starts while the API server is away: with it, it is let in by its
 * peers, and believes the records that it has kept. To authenticate, no API server is needed.
 *
 * A copy on the disk opens no door that is not open already. It lies beside the images that the key would give access to,
 * in a folder for root alone (0700, the file 0600). Who can read it there is root of the node: that one has the runtime's
 * socket, and kubelet's own copy of our service account token, which reads the Secret. The API token is not kept: it is
 * for people, who can wait. What remains is a disk that leaves the node with its content: whoever had it may have read
 * the key, and then the Secret is to be changed.
 */
export interface KeptKey {
  /** Undefined when none was kept, or it cannot be read. */
  load(): Promise<Buffer | undefined>;
  /** Never throws: what cannot be kept is lost with a warning. */
  save(key: Buffer): Promise<void>;
}
