import type { Counter, Endpoint, Tally } from '../access/index.ts';
import { endpointKey } from '../access/index.ts';
import { hashBytes } from './accesslog-bytes.ts';
import { actionOf, type Request, requestOf } from './accesslog-action.ts';
import { ByteCache, RunKey } from './accesslog-cache.ts';
import { type Ends, endpointOf, endsOf, type LineEnd, needsClientCert, needsName } from './accesslog-ends.ts';
import { keysOf, type Operator, SLOT_COUNT, slotOf } from './accesslog-fields.ts';
import { outcomeOf } from './accesslog-outcome.ts';
import { Spans } from './accesslog-spans.ts';
import { timeOf } from './accesslog-time.ts';
import { JsonScan } from './json-scan.ts';
import { MAX_DEPTH, MAX_FUTURE_MS, MAX_LINE_BYTES, type Reader, type SourceOptions } from './source.ts';

/** Puts the places of the values of a text line into its slots, or gives the reason why it does not fit. */
export type TextScan = (line: Spans) => string | undefined;

/** Kept from line to line: sets of ends and kinds of request, and the accesses under them by path. */
const ENDS_PLACES = 1 << 13;
const ENDS_KEY_BYTES = 1024;
const PATH_PLACES = 1 << 15;
const PATH_KEY_BYTES = 192;
const SAMPLE_BYTES = 640;

const START_TIME = slotOf('START_TIME');
const XFCC = slotOf('REQ(X-FORWARDED-CLIENT-CERT)');
const LOG_TYPE = slotOf('ACCESS_LOG_TYPE');
/** Slots whose values, as they are, decide who calls whom and what kind of request it is. */
const WHOLE = slotsOf(
  'REQ(:METHOD)',
  'PROTOCOL',
  'REQ(CONTENT-TYPE)',
  'UPSTREAM_CLUSTER',
  'UPSTREAM_HOST',
  'DOWNSTREAM_LOCAL_ADDRESS',
  'DOWNSTREAM_PEER_URI_SAN',
  'DOWNSTREAM_LOCAL_URI_SAN',
  'UPSTREAM_PEER_URI_SAN',
  'UPSTREAM_LOCAL_URI_SAN',
);
/** Slots of which the address counts, and not the port, unless that is 0. */
const ADDRESSES = slotsOf(
  'DOWNSTREAM_REMOTE_ADDRESS',
  'DOWNSTREAM_DIRECT_REMOTE_ADDRESS',
  'UPSTREAM_LOCAL_ADDRESS',
);
/** The callee's names as the caller wrote them: they count where {@link needsName} says so. */
const NAMES = slotsOf('REQ(:AUTHORITY)', 'REQUESTED_SERVER_NAME');
const RUNS = WHOLE.length + ADDRESSES.length + NAMES.length + 1;
/** Slots of which it counts, here, whether they are there and hold a value. */
const COUNTED = maskOf(
  ...WHOLE,
  ...ADDRESSES,
  ...NAMES,
  XFCC,
  ...slotsOf('REQ(:PATH)', 'REQ(X-ENVOY-ORIGINAL-PATH)', 'GRPC_STATUS'),
  ...slotsOf('DOWNSTREAM_TLS_VERSION', 'UPSTREAM_TLS_VERSION'),
);
const TEXT_BIT = 1 << SLOT_COUNT;
/** Envoy's AccessLogType: the entries that stand for a whole call, once. */
const FINAL_TYPES = new Set(['NotSet', 'DownstreamEnd', 'TcpConnectionEnd', 'UdpSessionEnd']);

/** What is kept for lines whose ends and kind of request are the same. */
interface Route {
  readonly ends: Ends;
  readonly request: Request;
  /** Another one whenever the endpoints become others: what is kept under it is then not found again. */
  id: number;
  from: Endpoint;
  to: Endpoint;
}

/** Reads access logs, a line at a time: JSON, and a text format where `textScan` is given. */
export class AccessLogReader implements Reader {
  readonly #tally: Tally;
  readonly #latest: number;
  readonly #line = new Spans(SLOT_COUNT);
  readonly #json: JsonScan;
  readonly #textScan: TextScan | undefined;
  readonly #routes = new ByteCache<Route>(ENDS_PLACES, ENDS_KEY_BYTES);
  readonly #routeKey = new RunKey(RUNS);
  readonly #counters = new ByteCache<Counter>(PATH_PLACES, PATH_KEY_BYTES);
  readonly #counterKey = new RunKey(1);
  #nextId = 0;

  /** Throws `usage` for options that name an unknown operator. */
  constructor(tally: Tally, options: SourceOptions, textScan?: TextScan) {
    this.#tally = tally;
    this.#latest = options.now + MAX_FUTURE_MS;
    this.#json = new JsonScan(keysOf(options.fields), this.#line);
    this.#textScan = textScan;
  }

  line(bytes: Buffer, number: number): void {
    const tally = this.#tally;
    tally.read++;
    const reason = bytes.length > MAX_LINE_BYTES ? 'a line that is too long' : this.#take(bytes);
    if (reason === undefined) tally.accepted++;
    else tally.skip(reason, number, bytes.toString('utf8', 0, Math.min(bytes.length, SAMPLE_BYTES)));
  }

  end(): void {
    // Every line stands for itself: nothing waits for a later one.
  }

  /** Takes one line in, or gives the reason why not. */
  #take(bytes: Buffer): string | undefined {
    const line = this.#line;
    line.load(bytes);
    const broken = this.#scan();
    if (broken !== undefined) return broken;
    const at = timeOf(line.bytes, line.start[START_TIME] as number, line.end[START_TIME] as number);
    if (!line.has(START_TIME)) return 'no start time';
    if (Number.isNaN(at)) return 'a start time in an unknown form';
    if (at > this.#latest) return 'time in the future';
    if (line.has(LOG_TYPE) && !FINAL_TYPES.has(line.text(LOG_TYPE) ?? '')) {
      return 'an entry from the middle of a call: the one at its end counts';
    }
    const route = this.#route(at);
    return typeof route === 'string' ? route : this.#count(route, at);
  }

  #scan(): string | undefined {
    const line = this.#line;
    if (this.#textScan !== undefined && line.bytes[0] === 0x5b) return this.#textScan(line);
    const scanned = this.#json.scan();
    if (scanned === 'too deep') return `nested more than ${MAX_DEPTH} deep`;
    if (scanned === 'broken') return line.bytes[0] === 0x7b ? 'broken JSON' : 'not an access-log line';
    return line.odd ? 'a field that is a list, an object or a truth value' : undefined;
  }

  /** Who calls whom, and what kind of request it is. */
  #route(at: number): Route | string {
    this.#setRouteKey();
    const known = this.#routes.get(this.#routeKey);
    if (known !== undefined) {
      if (rests(known.ends.from) || rests(known.ends.to)) this.#attribute(known, at);
      return known;
    }
    const ends = endsOf(this.#line);
    if (typeof ends === 'string') return ends;
    const request = requestOf(this.#line, ends);
    if (typeof request === 'string') return request;
    const from = this.#endpoint(ends.from, at);
    const route = { ends, request, id: this.#newId(), from, to: this.#endpoint(ends.to, at) };
    this.#routes.put(this.#routeKey, route);
    return route;
  }

  /** Puts together all that {@link endsOf} and {@link requestOf} look at: lines of equal keys are alike to them. */
  #setRouteKey(): void {
    const line = this.#line;
    const key = this.#routeKey;
    key.begin(line.view, (line.present & COUNTED) | (line.json ? 0 : TEXT_BIT), line.empty & COUNTED);
    for (let i = 0; i < WHOLE.length; i++) addValue(key, line, WHOLE[i] as number, true);
    for (let i = 0; i < ADDRESSES.length; i++) addAddress(key, line, ADDRESSES[i] as number);
    const named = needsName(line);
    for (let i = 0; i < NAMES.length; i++) addValue(key, line, NAMES[i] as number, named);
    addValue(key, line, XFCC, needsClientCert(line));
  }

  /** Ends known by an address are asked for again at every time: addresses change hands. */
  #attribute(route: Route, at: number): void {
    const from = this.#endpoint(route.ends.from, at);
    const to = this.#endpoint(route.ends.to, at);
    if (isSame(from, route.from) && isSame(to, route.to)) return;
    route.from = from;
    route.to = to;
    route.id = this.#newId();
  }

  #endpoint(end: LineEnd, at: number): Endpoint {
    return endpointOf(end, rests(end) ? this.#tally.endpointOfIp(end.ip, at) : undefined);
  }

  #newId(): number {
    this.#nextId = (this.#nextId + 1) | 0;
    return this.#nextId;
  }

  #count(route: Route, at: number): string | undefined {
    const line = this.#line;
    const { ends, request } = route;
    const key = this.#counterKey;
    key.begin(line.view, route.id, 0);
    if (request.kind === 'http') addPath(key, line, request.pathSlot);
    let counter = this.#counters.get(key);
    // A caller's instance needs to be named to a counter once.
    let instance: string | undefined;
    if (counter === undefined) {
      const action = actionOf(line, request, ends.port);
      if (typeof action === 'string') return action;
      counter = this.#tally.access(route.from, route.to, action, ends.side);
      instance = ends.instance;
      this.#counters.put(key, counter);
    }
    counter.add(at, outcomeOf(line, request.kind === 'tcp'), instance);
    if (route.from.entity === 'unknown') {
      this.#tally.blindSpot(
        { kind: 'unknown-caller', from: route.from, to: route.to, what: `port ${ends.port}` },
        at,
      );
    }
    if (ends.mutual) counter.evidence.mutual++;
    else if (ends.plaintext) counter.evidence.plaintext++;
    this.#tally.cover(at);
    return undefined;
  }
}

function rests(end: LineEnd): end is LineEnd & { ip: string } {
  return end.spiffeId === undefined && end.ip !== undefined;
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a === b || endpointKey(a) === endpointKey(b);
}

function addValue(key: RunKey, line: Spans, slot: number, counts: boolean): void {
  if (!counts || !line.has(slot)) {
    key.add(0, 0, 0);
    return;
  }
  const start = line.start[slot] as number;
  key.add(start, (line.end[slot] as number) - start, line.hash[slot] as number);
}

/** Adds an address without its port; with it, where that is 0, which says where the address is from. */
function addAddress(key: RunKey, line: Spans, slot: number): void {
  if (!line.has(slot)) {
    key.add(0, 0, 0);
    return;
  }
  const { bytes } = line;
  const start = line.start[slot] as number;
  let end = line.end[slot] as number;
  let p = end - 1;
  while (p > start && (bytes[p] as number) >= 0x30 && (bytes[p] as number) <= 0x39) p--;
  // What follows the last colon of a bare IPv6 address is a part of it, and no port.
  const port = bytes[p] === 0x3a && bytes[p + 1] !== 0x30;
  if (port && (bytes[p - 1] === 0x5d || !hasColon(bytes, start, p))) end = p + 1;
  key.add(start, end - start, hashBytes(line.view, start, end - start));
}

function hasColon(bytes: Uint8Array, start: number, end: number): boolean {
  for (let p = start; p < end; p++) if (bytes[p] === 0x3a) return true;
  return false;
}

/** Adds a path as far as its query or fragment. */
function addPath(key: RunKey, line: Spans, slot: number): void {
  if (!line.has(slot)) {
    key.add(0, 0, 0);
    return;
  }
  const { bytes } = line;
  const start = line.start[slot] as number;
  const end = line.end[slot] as number;
  let p = start;
  while (p < end && bytes[p] !== 0x3f && bytes[p] !== 0x23) p++;
  key.add(start, p - start, hashBytes(line.view, start, p - start));
}

function slotsOf(...operators: Operator[]): number[] {
  return operators.map(slotOf);
}

function maskOf(...slots: number[]): number {
  return slots.reduce((mask, slot) => mask | (1 << slot), 0);
}
