import { isIP } from 'node:net';

import { isRegistryHost } from '../domain/image-reference.js';
import { parseDurationMs, parseSizeBytes } from '../common/units.js';
import type { FreeDisk, HostPort } from './app-config.js';

/** How the text of a setting is read. */
export interface SettingType<T> {
  /** Completes "accepted: …". */
  readonly accepted: string;
  /** Throws whatever it likes when the text is not accepted. */
  parse(text: string): T;
}

/** `setTimeout` takes no more than 2^31 - 1 ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const HOST_NAME =
  /^(?=.{1,253}$)[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*\.?$/;

function pattern(accepted: string, matches: (text: string) => boolean): SettingType<string> {
  return {
    accepted,
    parse(text) {
      if (!matches(text)) throw new RangeError(accepted);
      return text;
    },
  };
}

export function oneOf<const T extends string>(values: readonly T[], remark = ''): SettingType<T> {
  return {
    accepted: `${values.join(', ')}${remark}`,
    parse(text) {
      const value = values.find((candidate) => candidate === text);
      if (value === undefined) throw new RangeError(text);
      return value;
    },
  };
}

export function integer(min: number, max: number): SettingType<number> {
  return {
    accepted: `a whole number from ${min} to ${max}`,
    parse(text) {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
      if (!(value >= min && value <= max)) throw new RangeError(text);
      return value;
    },
  };
}

/** A duration of at least `least` (as Go writes it) that a timer can wait for. */
export function duration(least: string, { zero }: { zero?: string } = {}): SettingType<number> {
  const minMs = parseDurationMs(least);
  return {
    accepted: `a duration such as 5m, 1m30s or 250ms, from ${least} to 24 days (576h)${zero === undefined ? '' : `; ${zero}`}`,
    parse(text) {
      const ms = parseDurationMs(text);
      if (zero !== undefined && ms === 0) return 0;
      if (ms < minMs || ms > MAX_TIMER_MS) throw new RangeError(text);
      return ms;
    },
  };
}

/** An age that is only compared, never waited for. */
export const age: SettingType<number> = {
  accepted: 'a duration such as 24h, from 1s',
  parse(text) {
    const ms = parseDurationMs(text);
    if (ms < 1000) throw new RangeError(text);
    return ms;
  },
};

export const size: SettingType<number> = {
  accepted: 'bytes, 500MiB (2^20), 1.5GB (10^9) or 500*1024*1024; 0 for no limit',
  parse: parseSizeBytes,
};

export const freeDisk: SettingType<FreeDisk> = {
  accepted: 'a size such as 10GiB, or a percentage such as 20% below 100%; 0 for no limit',
  parse(text) {
    const percent = /^(\d{1,2}(?:\.\d+)?)\s*%$/.exec(text);
    return percent ? { fraction: Number(percent[1]) / 100 } : { bytes: parseSizeBytes(text) };
  },
};

export const flag: SettingType<boolean> = {
  accepted: 'true, false',
  parse: (text) => oneOf(['true', 'false']).parse(text) === 'true',
};

export const port = integer(1, 65_535);
export const anything = pattern('anything', () => true);
export const path = pattern('the path of a file or directory', (text) => text.trim() !== '');
export const dnsLabel = pattern('lower-case letters, digits and "-", at most 63', (text) =>
  DNS_LABEL.test(text),
);
export const objectName = pattern(
  'a Kubernetes object name: lower-case letters, digits, "-" and "."',
  (text) => text.length <= 253 && text.split('.').every((label) => DNS_LABEL.test(label)),
);
export const nodeName = pattern('a node name: letters, digits, ".", "_" and "-", at most 253', (text) =>
  /^[a-zA-Z0-9][\w.-]{0,252}$/.test(text),
);
export const hostName = pattern('a host name', (text) => HOST_NAME.test(text));
export const ipAddress = pattern(
  'one IP address that others can reach, not 0.0.0.0 or ::, and without a zone',
  (text) => isIP(text) !== 0 && !isUnspecified(text) && !hasZone(text),
);

/** The address a server binds; brackets around IPv6 are taken off, and `localhost` is the IPv4 one. */
export const listenAddress: SettingType<string> = {
  accepted: 'an IP address (0.0.0.0 or :: for all of them), or localhost',
  parse(text) {
    if (text === 'localhost') return '127.0.0.1';
    const address = text.replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) === 0) throw new RangeError(text);
    return address;
  },
};

export const hostPorts: SettingType<readonly HostPort[]> = {
  accepted: 'host:port,host:port with ports from 1 to 65535; IPv6 as [address]:port',
  parse: (text) => items(text).map(parseHostPort),
};

export const registryHosts: SettingType<readonly string[]> = {
  accepted: 'registry hosts with optional ports, parted by commas: registry.example:5000,docker.io',
  parse: (text) =>
    items(text).map((host) => {
      if (!isRegistryHost(host)) throw new RangeError(host);
      return host === 'index.docker.io' ? 'docker.io' : host;
    }),
};

export const dockerHost = pattern(
  'unix:///path, tcp://host:port, http://host:port or https://host:port',
  (text) => {
    const protocol = /^([a-z]+):\/\/(.+)$/.exec(text);
    if (protocol?.[1] === 'unix') return protocol[2]?.startsWith('/') === true;
    if (!['tcp', 'http', 'https'].includes(protocol?.[1] ?? '')) return false;
    return URL.canParse(text.replace(/^tcp:/, 'http:'));
  },
);

/** A unix socket's path; some tools write it as a URL. */
export const socketPath: SettingType<string> = {
  accepted: 'the absolute path of a unix socket, or unix:///path',
  parse(text) {
    const path = text.replace(/^unix:\/\//, '');
    if (!path.startsWith('/')) throw new RangeError(text);
    return path;
  },
};

export const containerdNamespace = pattern(
  'a namespace of containerd: letters and digits, single ".", "_" and "-" between them, at most 76',
  (text) => text.length <= 76 && /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/.test(text),
);

/** A proxy's URL; like other tools, `host:port` alone means plain HTTP to the proxy. */
export const proxyUrl: SettingType<string> = {
  accepted: 'the URL of an HTTP proxy: http://host:port, https://host:port or host:port',
  parse(text) {
    const url = new URL(text.includes('://') ? text : `http://${text}`);
    if (!['http:', 'https:'].includes(url.protocol) || url.hostname === '') throw new RangeError();
    return url.href;
  },
};

export const commaList: SettingType<readonly string[]> = {
  accepted: 'a list parted by commas',
  parse: items,
};

function items(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d+)$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const valid = match?.[1] === undefined ? HOST_NAME.test(host) : isIP(host) === 6 && !hasZone(host);
  if (!valid) throw new RangeError(text);
  return { host, port: port.parse(match?.[3] ?? '') };
}

/** `fe80::1%eth0`: an interface of this machine, which means nothing to others. */
function hasZone(address: string): boolean {
  return address.includes('%');
}

export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || /^[0:]+$/.test(address);
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || /^(0{1,4}:){7}0{0,3}1$/.test(address);
}
