/**
 * Routes of machines: agents, probes, Prometheus. They have limits of their own (slots, rates), come often, and would
 * fill the log.
 */
export const MACHINE_ROUTES: readonly string[] = ['/health', '/metrics', '/v2', '/peer'];

const AGENT_ROUTES = ['/v2', '/peer'];

/** Where agents meet: open to strangers, so that it alone of the machines' routes is counted. */
const HANDSHAKE_ROUTE = '/peer/v1/session';

/** @param url path, with or without a query */
export function isMachineRoute(url: string): boolean {
  return MACHINE_ROUTES.some((route) => isBelow(route, pathOf(url)));
}

/** Below the handshake, all that agents ask each other for: nobody else gets more than a refusal there. */
export function isAgentRoute(url: string): boolean {
  return AGENT_ROUTES.some((route) => isBelow(route, pathOf(url))) && !isHandshakeRoute(url);
}

export function isHealthRoute(url: string): boolean {
  return isBelow('/health', pathOf(url));
}

/** As the router takes it, which does not mind upper case. @param url path, with or without a query */
export function isHandshakeRoute(url: string): boolean {
  return isBelow(HANDSHAKE_ROUTE, pathOf(url).toLowerCase());
}

function pathOf(url: string): string {
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

function isBelow(route: string, path: string): boolean {
  return path === route || path.startsWith(`${route}/`);
}
