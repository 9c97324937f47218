import type { ServerResponse } from 'node:http';

/** Every error's body holds this: nothing of it may be found in a client's messages. */
export const UPSTREAM_DETAIL = 'upstream detail that no client should repeat';

export function sendJson(response: ServerResponse, status: number, document: unknown): void {
  const body = Buffer.from(JSON.stringify(document));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}

/** @param code of the distribution specification */
export function sendError(response: ServerResponse, status: number, code: string): void {
  sendJson(response, status, { errors: [{ code, message: UPSTREAM_DETAIL }] });
}

export function sendEmpty(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
): void {
  response.writeHead(status, { ...headers, 'content-length': 0 });
  response.end();
}
