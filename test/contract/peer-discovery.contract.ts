import type { PeerDiscovery } from '../../src/peers/peer-discovery.js';

/** A discovery under test, and what it finds. All agents listen on `port`. */
export interface PeerDiscoverySubject {
  readonly discovery: PeerDiscovery;
  readonly port: number;
  /** From now on the agents are at these IP addresses. */
  publish(hosts: readonly string[]): void;
  /** From now on looking up fails. */
  fail(): void;
  dispose(): Promise<void>;
}

/** What `PeerDirectory` relies on, for every adapter. */
export function describePeerDiscovery(open: () => Promise<PeerDiscoverySubject>): void {
  let subject: PeerDiscoverySubject;
  const { signal } = new AbortController();
  const list = () => subject.discovery.list(signal);
  const at = (...hosts: string[]) => hosts.map((host) => ({ host, port: subject.port }));

  beforeEach(async () => {
    subject = await open();
  });
  afterEach(() => subject.dispose());

  it('finds IPv4 and IPv6 addresses', async () => {
    subject.publish(['10.0.0.1', 'fd00::1', '10.0.0.2']);
    const found = await list();
    expect(found).toHaveLength(3);
    expect(found).toEqual(expect.arrayContaining(at('10.0.0.1', 'fd00::1', '10.0.0.2')));
  });

  it('gives each address once, in one spelling', async () => {
    subject.publish(['10.0.0.1', 'fd00:0:0:0::1', '10.0.0.1', 'fd00::1']);
    expect(await list()).toHaveLength(2);
    expect(await list()).toEqual(expect.arrayContaining(at('10.0.0.1', 'fd00::1')));
  });

  it('follows changes', async () => {
    subject.publish(['10.0.0.1']);
    expect(await list()).toEqual(at('10.0.0.1'));
    subject.publish(['10.0.0.2']);
    expect(await list()).toEqual(at('10.0.0.2'));
  });

  it('throws when looking up fails, so that the last list can be kept', async () => {
    subject.publish(['10.0.0.1']);
    await list();
    subject.fail();
    await expect(list()).rejects.toThrow();
  });

  it('rejects with the reason of an aborted signal', async () => {
    subject.publish(['10.0.0.1']);
    const reason = new Error('enough');
    await expect(subject.discovery.list(AbortSignal.abort(reason))).rejects.toBe(reason);
  });
}
