import { randomBytes } from 'node:crypto';
import { buffer, text } from 'node:stream/consumers';

import { type Digest, digestOf } from '../../src/domain/digest.js';
import { PreheatMetrics } from '../../src/metrics/preheat-metrics.js';
import { PeerHandshake } from '../../src/peers/client/peer-handshake.js';
import type { AskedBlob } from '../../src/peers/availability.js';
import type { PeerError } from '../../src/peers/peer-error.js';
import { PeerAgent, type PeerAgentOptions } from '../support/peer-agent.js';

const { signal } = new AbortController();
const layer = (digest: Digest): AskedBlob => ({ digest, size: 20 });

describe('two agents', () => {
  const agents: PeerAgent[] = [];
  const start = async (options: PeerAgentOptions = {}) => {
    const agent = await PeerAgent.start(options);
    agents.push(agent);
    return agent;
  };

  afterEach(async () => {
    await Promise.all(agents.splice(0).map((agent) => agent.stop()));
  });

  async function pair(options: PeerAgentOptions = {}): Promise<[PeerAgent, PeerAgent]> {
    const [one, other] = await Promise.all([
      start({ node: 'one', ...options }),
      start({ node: 'other', ...options }),
    ]);
    await one.meet(one, other);
    return [one, other];
  }

  describe.each<[string, PeerAgentOptions]>([
    ['with a key, over IPv4', {}],
    ['with a key, over IPv6', { host: '::1' }],
    ['without authentication', { peerAuth: 'none' }],
  ])('%s', (_name, options) => {
    it('know each other by the handshake, and not themselves', async () => {
      const [one, other] = await pair(options);
      expect(one.service.discoveredOnce).toBe(true);
      expect(one.service.peers()).toEqual([
        {
          node: 'other',
          instance: other.identity.instance,
          platform: 'linux/amd64',
          protocol: 1,
          address: other.address,
        },
      ]);
    });

    it('know one that was not there when they looked as soon as it has looked for them', async () => {
      const one = await start({ node: 'one', ...options });
      const before = await start({ node: 'other', ...options });
      const { port } = before.address;
      await before.stop();
      one.known.push(before.address);
      await one.service.refresh(signal);
      expect(one.service.peers()).toEqual([]);

      const other = await start({ node: 'other', ...options, port });
      await other.meet(one);
      await one.service.greeted(signal);
      expect(one.service.peers()).toEqual([expect.objectContaining({ instance: other.identity.instance })]);
    });

    it('say what they have', async () => {
      const [one, other] = await pair(options);
      const [peer] = one.service.peers();
      const digest = other.addBlob('a layer');
      const absent = digestOf(Buffer.from('another'));
      const found = await one.service.availability(peer!, { blobs: [digest, absent].map(layer) }, signal);
      expect([...found]).toEqual([[digest, { size: 7, complete: true }]]);
      other.holdings.images.add('docker.io/library/nginx:1');
      expect(await one.service.inRuntime(peer!, 'docker.io/library/nginx:1', signal)).toEqual({
        config: digestOf(Buffer.from('config')),
      });
      expect(await one.service.inRuntime(peer!, 'docker.io/library/nginx:2', signal)).toBeUndefined();
    });

    it('hand out blobs from any byte on, and exports', async () => {
      const [one, other] = await pair(options);
      const [peer] = one.service.peers();
      const digest = other.addBlob('0123456789');
      const received = jest.spyOn(one.get(PreheatMetrics), 'peerReceivedBytes');

      const whole = await one.service.openBlob(peer!, digest, { start: 0 }, signal);
      expect([whole.start, whole.size, await text(whole.stream)]).toEqual([0, 10, '0123456789']);
      const rest = await one.service.openBlob(peer!, digest, { start: 4 }, signal);
      expect([rest.start, rest.size, await text(rest.stream)]).toEqual([4, 10, '456789']);
      expect(received.mock.calls.flat().reduce((sum, count) => sum + count, 0)).toBe(16);

      const image = 'registry.example:5000/team/app:1&x=y';
      other.holdings.images.add(image);
      expect(await text(await one.service.openExport(peer!, image, 1000, signal))).toBe(`tar of ${image}`);
    });
  });

  it('do not call back whoever has another key', async () => {
    const [one, other] = await Promise.all([start(), start({ key: randomBytes(32) })]);
    one.known.push(other.address);
    await one.service.refresh(signal);
    const calls = jest.spyOn(one.get(PeerHandshake), 'meet');
    await other.meet(one);
    await one.service.greeted(signal);
    expect(other.service.peers()).toEqual([]);
    expect(calls).not.toHaveBeenCalled();
  });

  it('run many requests of one session at once', async () => {
    const [one, other] = await pair();
    const [peer] = one.service.peers();
    const digest = other.addBlob('x'.repeat(10_000));
    const blobs = Array.from({ length: 60 }, async () => {
      const { stream } = await one.service.openBlob(peer!, digest, { start: 0 }, signal);
      return (await buffer(stream)).length;
    });
    expect(new Set(await Promise.all(blobs))).toEqual(new Set([10_000]));
  });

  it('use an agent without the availability call as a plain source', async () => {
    const [one, other] = await pair({ plain: true });
    const [peer] = one.service.peers();
    const digest = other.addBlob('a layer');
    const question = { blobs: [digest, digestOf(Buffer.from('b'))].map(layer) };
    expect([...(await one.service.availability(peer!, question, signal))]).toEqual([
      [digest, { size: 7, complete: true }],
    ]);
    expect(await one.service.inRuntime(peer!, 'a:1', signal)).toBeUndefined();
  });

  it('count an instance that is reached at two addresses once', async () => {
    const one = await start({ node: 'one', host: '127.0.0.1' });
    const other = await start({ node: 'other', host: '0.0.0.0' });
    one.known.push(
      { host: '127.0.0.1', port: other.address.port },
      { host: '127.0.0.2', port: other.address.port },
    );
    await one.service.refresh(signal);
    expect(one.service.peers()).toHaveLength(1);
  });

  it('go on with a peer that was restarted, under its new instance', async () => {
    const [one, other] = await pair();
    const [before] = one.service.peers();
    const { port } = other.address;
    await other.stop();
    agents.splice(agents.indexOf(other), 1);
    const restarted = await start({ node: 'other', port });
    const digest = restarted.addBlob('still here');
    const found = await one.service.availability(before!, { blobs: [layer(digest)] }, signal);
    expect(found.size).toBe(1);
    const [after] = one.service.peers();
    expect(after?.instance).toBe(restarted.identity.instance);
    expect(after?.instance).not.toBe(before?.instance);
  });

  it('skip a peer that fails, and come back to it', async () => {
    const [one, other] = await pair();
    const [peer] = one.service.peers();
    const { port } = other.address;
    await other.stop();
    agents.splice(agents.indexOf(other), 1);
    const question = { blobs: [layer(digestOf(Buffer.from('x')))] };
    await expect(one.service.availability(peer!, question, signal)).rejects.toMatchObject({
      kind: 'network',
    });
    expect(one.service.peers()).toEqual([]);
    await start({ node: 'other', port });
    await one.service.refresh(signal);
    expect(one.service.peers()).toEqual([]);
    await one.clock.advance(2_000);
    await one.service.refresh(signal);
    expect(one.service.peers()).toHaveLength(1);
  });

  it('quarantine a peer for one image alone', async () => {
    const [one] = await pair();
    const [peer] = one.service.peers();
    one.service.quarantine(peer!, 'docker.io/library/nginx:1');
    expect(one.service.peers('docker.io/library/nginx:1')).toEqual([]);
    expect(one.service.peers('docker.io/library/nginx:2')).toEqual([peer]);
    expect(one.service.isQuarantined(peer!, 'docker.io/library/nginx:1')).toBe(true);
  });

  describe('probe an address', () => {
    it('and say who is there, that nothing listens, or nothing at all', async () => {
      const [one, other] = await pair();
      const at = `127.0.0.1:${other.address.port}`;
      expect(await one.service.probe(at, signal)).toEqual({
        instance: other.identity.instance,
        node: 'other',
      });
      await other.stop();
      agents.splice(agents.indexOf(other), 1);
      expect(await one.service.probe(other.address, signal)).toBe('refused');
    });

    it('only when discovery lists it', async () => {
      const [one] = await pair();
      const stranger = await start({ node: 'stranger' });
      expect(await one.service.probe(stranger.address, signal)).toBe('unlisted');
      expect(await one.service.probe('not an address', signal)).toBe('unlisted');
    });
  });

  describe('when a peer sends something else than asked for', () => {
    it.each<[string, number, PeerError['kind'], (start: number) => [number, Record<string, string>, string]]>(
      [
        ['fewer bytes', 0, 'network', () => [200, { 'content-length': '20' }, '0123456789']],
        ['another range', 4, 'http', () => [206, { 'content-range': 'bytes 5-9/10' }, '56789']],
        [
          'a range that is not all of the rest',
          4,
          'http',
          () => [206, { 'content-range': 'bytes 4-5/10' }, '45'],
        ],
        ['no length', 0, 'http', () => [200, { 'transfer-encoding': 'chunked' }, '0123456789']],
        [
          'more than it announced',
          4,
          'corrupt',
          () => [206, { 'content-range': 'bytes 4-9/10', 'transfer-encoding': 'chunked' }, '4567890123'],
        ],
        ['a redirect', 0, 'http', () => [307, { location: 'http://127.0.0.1:1/' }, '']],
        ['429', 0, 'full', () => [429, { 'retry-after': '2' }, '']],
        ['an error', 0, 'http', () => [500, {}, 'boom']],
      ],
    )('%s', async (_name, offset, kind, answer) => {
      const [one, other] = await pair();
      const [peer] = one.service.peers();
      const digest = other.addBlob('0123456789');
      other.holdings.blobResponse = (_request, response) => {
        const [status, headers, body] = answer(offset);
        response.writeHead(status, headers);
        response.write(body);
        if (headers['content-length'] === '20') setImmediate(() => response.destroy());
        else response.end();
      };
      const read = async () =>
        buffer((await one.service.openBlob(peer!, digest, { start: offset }, signal)).stream);
      const error = await read().then(
        () => undefined,
        (cause: unknown) => cause,
      );
      expect(error).toMatchObject({ kind });
    });
  });

  it('give up a refused answer that does not end', async () => {
    const [one, other] = await pair();
    const [peer] = one.service.peers();
    other.holdings.blobResponse = (_request, response) => {
      response.writeHead(500);
      response.write('boo');
    };
    const opening = one.service.openBlob(peer!, other.addBlob('x'), { start: 0 }, signal);
    await expect(opening).rejects.toMatchObject({ kind: 'http' });
  });

  it('stop reading when the signal aborts', async () => {
    const [one, other] = await pair();
    const [peer] = one.service.peers();
    const digest = other.addBlob('x');
    other.holdings.blobResponse = (_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('x');
    };
    const controller = new AbortController();
    const { stream } = await one.service.openBlob(peer!, digest, { start: 0 }, controller.signal);
    const reading = buffer(stream);
    controller.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    expect(one.service.peers()).toHaveLength(1);
  });
});
