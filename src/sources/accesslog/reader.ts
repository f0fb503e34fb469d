import type { Counter, Endpoint, Side, Tally } from '../../access/index.ts';
import { endpointKey } from '../../access/index.ts';
import { actionOf, type Request, requestOf } from './action.ts';
import { ByteCache, RunKey } from './cache.ts';
import { type Ends, endpointOf, endsOf, instanceOf, type LineEnd } from './ends.ts';
import { keysOf, SLOT_COUNT, slotOf } from './fields.ts';
import { instanceKey, pathKey, routeKey } from './key.ts';
import { outcomeOf } from './outcome.ts';
import { Spans } from './spans.ts';
import { timeOf } from './time.ts';
import { JsonScan } from './json-scan.ts';
import {
  MAX_DEPTH,
  MAX_FUTURE_MS,
  MAX_LINE_BYTES,
  MIN_TIME_MS,
  type Reader,
  type SourceOptions,
} from '../source.ts';

/** Puts the places of the values of a text line into its slots, or gives the reason why it does not fit. */
export type TextScan = (line: Spans) => string | undefined;

/** How much is kept from line to line: routes, names of callers' instances, and accesses by path. */
const ROUTE_PLACES = 1 << 13;
const ROUTE_KEY_BYTES = 1024;
const INSTANCE_PLACES = 1 << 12;
const INSTANCE_KEY_BYTES = 160;
const PATH_PLACES = 1 << 15;
const PATH_KEY_BYTES = 192;
/** Kinds of request between endpoints that are numbered, and instances remembered to have been named to a counter. */
const MAX_IDS = 1 << 16;
const MAX_NAMED = 256;
const SAMPLE_BYTES = 640;

const START_TIME = slotOf('START_TIME');
const LOG_TYPE = slotOf('ACCESS_LOG_TYPE');
/** Envoy's AccessLogType: the entries that stand for a whole call, once. */
const FINAL_TYPES = new Set(['NotSet', 'DownstreamEnd', 'TcpConnectionEnd', 'UdpSessionEnd']);

/** What is kept for lines whose ends and kind of request are the same. */
interface Route {
  readonly ends: Ends;
  readonly request: Request;
  from: Endpoint;
  to: Endpoint;
  /** Of this kind of request between these endpoints. Another one when an address has changed hands. */
  id: number;
}

/** Stands in the place of routes that the caller's address decides: they are kept with it in their key. */
const BY_ADDRESS = 'by address';

interface Instance {
  readonly name: string | undefined;
}

/** A counter, and the caller's instances that were named to it. */
interface Counted {
  readonly counter: Counter;
  /** Made for the second one: most accesses of a long tail have one. */
  instances: Set<string> | undefined;
  last: string | undefined;
}

/** Reads access logs, a line at a time: JSON, and a text format where `textScan` is given. */
export class AccessLogReader implements Reader {
  readonly #tally: Tally;
  readonly #latest: number;
  readonly #line = new Spans(SLOT_COUNT);
  readonly #json: JsonScan;
  readonly #textScan: TextScan | undefined;
  readonly #key = new RunKey(SLOT_COUNT);
  readonly #routes = new ByteCache<Route | typeof BY_ADDRESS>(ROUTE_PLACES, ROUTE_KEY_BYTES);
  readonly #instances = new ByteCache<Instance>(INSTANCE_PLACES, INSTANCE_KEY_BYTES);
  readonly #counters = new ByteCache<Counted>(PATH_PLACES, PATH_KEY_BYTES);
  readonly #ids = new Map<string, number>();
  #lastId = 0;

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
    if (!line.has(START_TIME)) return 'no start time';
    const at = timeOf(line.bytes, line.start[START_TIME] as number, line.end[START_TIME] as number);
    if (Number.isNaN(at)) return 'a start time in an unknown form';
    if (at > this.#latest) return 'time in the future';
    if (at < MIN_TIME_MS) return 'time before 2010';
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
    const key = this.#key;
    routeKey(key, this.#line, false);
    let route = this.#routes.get(key);
    if (route === BY_ADDRESS) {
      routeKey(key, this.#line, true);
      route = this.#routes.get(key);
    }
    if (route === undefined || route === BY_ADDRESS) return this.#newRoute(at);
    if (rests(route.ends.from) || rests(route.ends.to)) this.#attribute(route, at);
    return route;
  }

  #newRoute(at: number): Route | string {
    const line = this.#line;
    const ends = endsOf(line);
    if (typeof ends === 'string') return ends;
    const request = requestOf(line, ends);
    if (typeof request === 'string') return request;
    const from = this.#endpoint(ends.from, at);
    const to = this.#endpoint(ends.to, at);
    const route = { ends, request, from, to, id: this.#id(ends, request, from, to) };
    const key = this.#key;
    routeKey(key, line, false);
    if (ends.byAddress) {
      if (this.#routes.get(key) === undefined) this.#routes.put(key, BY_ADDRESS);
      routeKey(key, line, true);
    }
    this.#routes.put(key, route);
    return route;
  }

  /** One number for all routes whose requests of one path are one access: those of a caller's many instances. */
  #id({ side, port }: Ends, { kind, method, grpc, pathSlot }: Request, from: Endpoint, to: Endpoint): number {
    const parts = [endpointKey(from), endpointKey(to), side, port, kind, method, grpc, pathSlot];
    const text = parts.join('\n');
    let id = this.#ids.get(text);
    if (id === undefined) {
      if (this.#ids.size === MAX_IDS) this.#ids.clear();
      id = this.#lastId = (this.#lastId + 1) | 0;
      this.#ids.set(text, id);
    }
    return id;
  }

  /** Ends known by an address are asked for again at every time: addresses change hands. */
  #attribute(route: Route, at: number): void {
    const from = this.#endpoint(route.ends.from, at);
    const to = this.#endpoint(route.ends.to, at);
    if (isSame(from, route.from) && isSame(to, route.to)) return;
    route.from = from;
    route.to = to;
    route.id = this.#id(route.ends, route.request, from, to);
  }

  #endpoint(end: LineEnd, at: number): Endpoint {
    return endpointOf(end, rests(end) ? this.#tally.endpointOfIp(end.ip, at) : undefined);
  }

  #instance(side: Side): string | undefined {
    const key = this.#key;
    instanceKey(key, this.#line, side);
    let instance = this.#instances.get(key);
    if (instance === undefined) {
      instance = { name: instanceOf(this.#line, side) };
      this.#instances.put(key, instance);
    }
    return instance.name;
  }

  #count(route: Route, at: number): string | undefined {
    const line = this.#line;
    const { ends, request } = route;
    const name = this.#instance(ends.side);
    const key = this.#key;
    pathKey(key, line, route.id, request.pathSlot);
    let counted = this.#counters.get(key);
    if (counted === undefined) {
      const action = actionOf(line, request, ends.port);
      if (typeof action === 'string') return action;
      const counter = this.#tally.access(route.from, route.to, action, ends.side);
      counted = { counter, instances: undefined, last: undefined };
      this.#counters.put(key, counted);
    }
    const { counter } = counted;
    counter.add(at, outcomeOf(line, request.kind === 'tcp'), newInstance(counted, name));
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

/** The name of an instance, if it was not named to the counter before. */
function newInstance(counted: Counted, name: string | undefined): string | undefined {
  const { last } = counted;
  if (name === undefined || name === last) return undefined;
  counted.last = name;
  if (last === undefined) return name;
  counted.instances ??= new Set([last]);
  if (counted.instances.has(name)) return undefined;
  if (counted.instances.size === MAX_NAMED) counted.instances.clear();
  counted.instances.add(name);
  return name;
}

function rests(end: LineEnd): end is LineEnd & { ip: string } {
  return end.spiffeId === undefined && end.ip !== undefined;
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a === b || endpointKey(a) === endpointKey(b);
}
