/**
 * Routes of machines: agents, probes, Prometheus. They have limits of their own (slots, rates), come often, and would
 * fill the log.
 */
const MACHINE_ROUTES = ['/health', '/metrics', '/v2', '/peer'];

/** @param url path, with or without a query */
export function isMachineRoute(url: string): boolean {
  const end = url.search(/[?#]/);
  const path = end === -1 ? url : url.slice(0, end);
  return MACHINE_ROUTES.some((route) => path === route || path.startsWith(`${route}/`));
}
