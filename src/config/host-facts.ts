import { readFileSync } from 'node:fs';
import { homedir, hostname, networkInterfaces } from 'node:os';

import { type Platform, platformOfProcess } from '../domain/platform.js';

/** What the machine says where the environment says nothing. */
export interface HostFacts {
  readonly hostName: string;
  /** Addresses of the network interfaces that others can reach: neither loopback nor link-local. */
  readonly addresses: readonly string[];
  readonly platform: Platform;
  readonly homeDirectory: string;
  /** What relative paths begin at. */
  readonly workingDirectory: string;
  /** `search` of resolv.conf, which names the cluster's domain. */
  readonly searchDomains: readonly string[];
}

export function readHostFacts(): HostFacts {
  return {
    hostName: hostname(),
    addresses: Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal, address }) => !internal && !/^(?:fe80:|169\.254\.)/i.test(address))
      .map(({ address }) => address),
    platform: platformOfProcess(process.platform, process.arch),
    homeDirectory: homedir(),
    workingDirectory: process.cwd(),
    searchDomains: readSearchDomains(),
  };
}

function readSearchDomains(): readonly string[] {
  let text: string;
  try {
    text = readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return [];
  }
  const lines = text.split('\n').map((line) => line.trim().split(/\s+/));
  return lines.findLast(([keyword]) => keyword === 'search')?.slice(1) ?? [];
}
