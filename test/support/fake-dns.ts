import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

import ipaddr from 'ipaddr.js';

const TYPE_A = 1;
const TYPE_AAAA = 28;
const NXDOMAIN = 3;
const SERVFAIL = 2;
const HEADER_BYTES = 12;

/** A name server on loopback that answers A and AAAA questions from a table (RFC 1035). */
export class FakeDns {
  /** Host name to its addresses, IPv4 and IPv6; a name without addresses exists all the same. */
  readonly hosts = new Map<string, readonly string[]>();
  /** Families whose questions are answered with SERVFAIL. */
  readonly broken = new Set<4 | 6>();
  /** Names that were asked for, in order, each once per record type. */
  readonly asked: string[] = [];

  private constructor(private readonly socket: Socket) {
    socket.on('message', (question, from) => {
      socket.send(this.answer(question), from.port, from.address);
    });
  }

  static async start(): Promise<FakeDns> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new FakeDns(socket);
  }

  /** As `Resolver.setServers` takes it. */
  get server(): string {
    return `127.0.0.1:${this.socket.address().port}`;
  }

  async stop(): Promise<void> {
    this.socket.close();
    await once(this.socket, 'close');
  }

  private answer(question: Buffer): Buffer {
    const { name, type, end } = readQuestion(question);
    this.asked.push(name);
    const addresses = this.hosts.get(name);
    const records = (addresses ?? [])
      .map((address) => Buffer.from(ipaddr.parse(address).toByteArray()))
      .filter((bytes) => bytes.length === (type === TYPE_A ? 4 : type === TYPE_AAAA ? 16 : 0))
      .map((bytes) => recordOf(type, bytes));
    const header = Buffer.from(question.subarray(0, HEADER_BYTES));
    const broken = this.broken.has(type === TYPE_AAAA ? 6 : 4);
    const status = broken ? SERVFAIL : addresses ? 0 : NXDOMAIN;
    // Response, recursion desired and available, status; one question, the answers, nothing else.
    header.writeUInt16BE(0x8180 | status, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(broken ? 0 : records.length, 6);
    header.writeUInt32BE(0, 8);
    const body = broken ? [] : records;
    return Buffer.concat([header, question.subarray(HEADER_BYTES, end), ...body]);
  }
}

function readQuestion(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let position = HEADER_BYTES;
  for (let length = message[position]!; length > 0; length = message[position]!) {
    labels.push(message.toString('latin1', position + 1, position + 1 + length));
    position += 1 + length;
  }
  return { name: labels.join('.'), type: message.readUInt16BE(position + 1), end: position + 5 };
}

/** The name is a pointer to the question's (offset 12); class IN, 5 s to live. */
function recordOf(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(5, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}
