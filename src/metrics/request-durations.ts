import { Injectable } from '@nestjs/common';
import { InjectMetric } from '@willsoto/nestjs-prometheus';
import type { Request, Response } from 'express';
import { Histogram } from 'prom-client';

import { SeriesLedger } from './series-ledger.js';

export const REQUEST_DURATION = 'http_request_duration_seconds';
export const REQUEST_DURATION_BUCKETS_SECONDS = [0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600];
const SERIES_PER_CHILD = REQUEST_DURATION_BUCKETS_SECONDS.length + 3;
const MAX_SERIES = 35 * SERIES_PER_CHILD;
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/**
 * Times requests until the answer's last byte is out, or its connection gone. Labelled with the route's pattern,
 * never the URL, so that nobody outside can make series.
 */
@Injectable()
export class RequestDurations {
  private readonly watched = new WeakSet<Response>();
  private readonly ledger = new SeriesLedger(MAX_SERIES);

  constructor(@InjectMetric(REQUEST_DURATION) private readonly histogram: Histogram) {}

  /** Begins to time this request; a second call for the same one does nothing. */
  watch(request: Request, response: Response): void {
    if (this.watched.has(response)) return;
    this.watched.add(response);
    const startMs = performance.now();
    const finish = (): void => this.observe(request, response, performance.now() - startMs);
    if (response.closed) finish();
    else response.once('close', finish);
  }

  private observe(request: Request, response: Response, durationMs: number): void {
    const labels = {
      method: METHODS.has(request.method) ? request.method : 'other',
      route: patternOf(request),
      // Before the headers are out there is no status to speak of: the client went away first.
      status: response.headersSent ? String(response.statusCode) : 'aborted',
    };
    const claimed = this.ledger.claim(REQUEST_DURATION, this.histogram, labels, SERIES_PER_CHILD);
    this.histogram.observe(
      claimed ? labels : { ...labels, route: 'other', status: 'other' },
      durationMs / 1000,
    );
  }
}

function patternOf(request: Request): string {
  const route: unknown = request.route;
  if (route === null || typeof route !== 'object' || !('path' in route)) return 'unmatched';
  return typeof route.path === 'string' ? route.path : 'other';
}
