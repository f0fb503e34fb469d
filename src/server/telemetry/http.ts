import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import type { Context, MiddlewareHandler } from 'hono';
import { ROUTE_NAMES, ROUTES } from '../../api/index.ts';
import type { Timers } from '../timers.ts';
import type { Metrics } from './metrics.ts';

const OWN = new Set(['/healthz', '/readyz', '/metrics', '/v1/sign-out', '/v1/sign-in']);
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);
const PATTERNS = ROUTE_NAMES.map((name) => {
  const { method, path } = ROUTES[name];
  return {
    method,
    path,
    pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`),
  };
});
/** W3C Trace Context, section 3.2: version 00. */
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Measures every call and makes a span of it. */
export function observedCalls(metrics: Metrics, timers: Timers): MiddlewareHandler {
  return async (context, next) => {
    const start = timers.now();
    const { method, path } = context.req;
    const route = routeOf(method, path);
    const known = METHODS.has(method) ? method : 'other';
    const span = startSpan(context, `${known} ${route}`);
    span.setAttributes({ 'http.request.method': known, 'http.route': route });
    try {
      await next();
    } finally {
      const { status } = context.res;
      metrics.http.observe({ route, method: known, status }, Math.max(0, timers.now() - start) / 1000);
      span.setAttribute('http.response.status_code', status);
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    }
  };
}

/** The route of a path, without what it names: there are as many as the table has rows, and a few more. */
export function routeOf(method: string, path: string): string {
  if (path.startsWith('/v1/sign-in/')) return '/v1/sign-in/*';
  if (OWN.has(path)) return path;
  if (!path.startsWith('/v1/')) return 'console';
  return PATTERNS.find((each) => each.method === method && each.pattern.test(path))?.path ?? 'none';
}

/** Continues the trace of a caller that has one. */
function startSpan(context: Context, name: string): Span {
  const [, traceId = '', spanId = '', flags = ''] =
    TRACEPARENT.exec(context.req.header('traceparent') ?? '') ?? [];
  const isSampled = (Number.parseInt(flags, 16) & TraceFlags.SAMPLED) !== 0;
  const parent =
    traceId === ''
      ? ROOT_CONTEXT
      : trace.setSpanContext(ROOT_CONTEXT, {
          traceId,
          spanId,
          traceFlags: isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
          isRemote: true,
        });
  return trace.getTracer('interlock').startSpan(name, { kind: SpanKind.SERVER }, parent);
}
