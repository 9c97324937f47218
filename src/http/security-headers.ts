import type { NextFunction, Request, Response } from 'express';

/** Swagger UI brings inline styles and images; everything else is data, in which nothing may run. */
const DOCS_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
const DATA_POLICY = "default-src 'none'; frame-ancestors 'none'";

export function securityHeaders(request: Request, response: Response, next: NextFunction): void {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('X-Frame-Options', 'DENY');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Content-Security-Policy', isDocs(request.path) ? DOCS_POLICY : DATA_POLICY);
  next();
}

function isDocs(path: string): boolean {
  return path === '/docs' || path.startsWith('/docs/');
}
