import { readFileSync } from 'node:fs';
import { homedir, hostname, networkInterfaces } from 'node:os';

import { parseResolvConf } from '../common/resolv-conf.js';
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
  try {
    return parseResolvConf(readFileSync('/etc/resolv.conf', 'utf8')).search;
  } catch {
    return [];
  }
}
