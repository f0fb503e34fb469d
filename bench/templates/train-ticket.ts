import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { Route } from './score.ts';

const RECORDING = new URL('../../../shared/data/train-ticket/traces.otlp.jsonl.gz', import.meta.url);

/** Whether the recording is there: a clone of the project alone has none. */
export const haveTrainTicket = existsSync(RECORDING);
/** The sentence for where it is not. */
export const NO_TRAIN_TICKET =
  'train-ticket: the recording is not here (../shared/data/train-ticket), left out';

/** Name of a parameter in the recording -> kind of its values. */
const KINDS: Readonly<Record<string, string>> = {
  accountId: 'uuid',
  id: 'uuid',
  loginId: 'uuid',
  orderId: 'uuid',
  routeId: 'uuid',
  userId: 'uuid',
  checkDate: 'date',
  date: 'date',
  startStation: 'station',
  endStation: 'station',
  stationNameForId: 'station',
  tripId: 'trip',
  money: 'money',
  status: 'status',
  typeIndex: 'one',
  trainType: 'trainType',
  name: 'trainType',
  configName: 'config',
  verifyCode: 'captcha',
};

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}
interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly kind: number;
  readonly attributes: readonly Attribute[];
}
/** The part of an ExportTraceServiceRequest that is read here. */
interface Request {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

const attribute = (attributes: readonly Attribute[], key: string): string | undefined =>
  attributes.find((a) => a.key === key)?.value.stringValue;

/** The routes of the recording, by service and method, with their callers and calls. */
export function trainTicketRoutes(): Map<string, Route[]> {
  const spans = new Map<string, { service: string; span: Span }>();
  for (const line of gunzipSync(readFileSync(RECORDING)).toString('utf8').split('\n')) {
    if (line === '') continue;
    const request = JSON.parse(line) as Request; // a recording of a known make, read by a benchmark only
    for (const { resource, scopeSpans } of request.resourceSpans) {
      const service = attribute(resource.attributes, 'service.name') ?? '';
      for (const { spans: list } of scopeSpans) {
        for (const span of list) spans.set(`${span.traceId}/${span.spanId}`, { service, span });
      }
    }
  }
  return routesOf(spans);
}

function routesOf(spans: ReadonlyMap<string, { service: string; span: Span }>): Map<string, Route[]> {
  const calls = new Map<string, Map<string, Map<string, number>>>();
  for (const { service, span } of spans.values()) {
    const parent = spans.get(`${span.traceId}/${span.parentSpanId ?? ''}`);
    const route = attribute(span.attributes, 'http.route');
    if (span.kind !== 2 || parent === undefined || route === undefined) continue;
    const method =
      attribute(span.attributes, 'http.request.method') ??
      attribute(parent.span.attributes, 'http.request.method') ??
      '';
    const group = entry(calls, `${service} ${method}`, () => new Map<string, Map<string, number>>());
    const callers = entry(group, withKinds(route), () => new Map<string, number>());
    callers.set(parent.service, (callers.get(parent.service) ?? 0) + 1);
  }
  return new Map(
    [...calls].map(([group, routes]) => [
      group,
      [...routes].map(([template, callers]) => ({ template, callers: [...callers] })),
    ]),
  );
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function withKinds(route: string): string {
  const parts = route.split('/').map((part) => {
    if (!part.startsWith('{')) return part;
    const kind = KINDS[part.slice(1, -1)];
    if (kind === undefined) throw new RangeError(`no kind of values for the parameter ${part} of ${route}`);
    return `{${kind}}`;
  });
  return parts.join('/');
}

/** The same routes with their calls multiplied, at least one each. */
export function scaled(routes: readonly Route[], factor: number): Route[] {
  return routes.map(({ template, callers }) => ({
    template,
    callers: callers.map(([from, calls]) => [from, Math.max(1, Math.round(calls * factor))] as const),
  }));
}
