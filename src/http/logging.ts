import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Params } from 'nestjs-pino';

import type { AppConfig } from '../config/app-config.js';
import { MACHINE_ROUTES } from './route-groups.js';

/** Belt and braces: requests are logged without headers at all, but a library's error may carry them. */
const REDACTED = ['authorization', 'Authorization', 'cookie', 'identitytoken', 'password', 'token'].flatMap(
  (key) => [key, `*.${key}`, `*.headers.${key}`, `*.*.headers.${key}`],
);

/** Parameters of nestjs-pino's `LoggerModule`: JSON lines, one per request on the routes that people use. */
export function loggingParams(config: Pick<AppConfig, 'logLevel' | 'nodeName'>): Params {
  return {
    // A logger for each request, even for one that logs nothing, takes a part of what a chunk costs that shows.
    exclude: MACHINE_ROUTES.flatMap((route) => [route, `${route}/*rest`]),
    pinoHttp: {
      level: config.logLevel,
      base: { node: config.nodeName },
      redact: { paths: REDACTED, censor: '***' },
      // What is logged within a request carries its number only; the line about the request itself says the rest.
      quietReqLogger: true,
      customLogLevel: (_request, response) => (response.statusCode >= 500 ? 'warn' : 'info'),
      // The error filter has logged why; a second error here would have a made-up stack.
      customErrorObject: (
        _request,
        response: ServerResponse,
        _error,
        { responseTime }: { responseTime: number },
      ) => ({
        res: response,
        responseTime,
      }),
      serializers: {
        req: ({ method, url }: IncomingMessage) => ({ method, url: url?.slice(0, 1_000) }),
        res: ({ statusCode }: ServerResponse) => ({ statusCode }),
      },
    },
  };
}
