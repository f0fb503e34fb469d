import type { Counter, Endpoint, Pair, Tally } from '../../access/index.ts';
import { addInstance, endpointKey } from '../../access/index.ts';
import { hashBytes } from './bytes.ts';
import { actionOf, type Request, requestOf } from './action.ts';
import { ByteCache, RunKey } from './cache.ts';
import { type Ends, endpointOf, endsOf, instanceOf, type LineEnd } from './ends.ts';
import { keysOf, SLOT_COUNT, slotOf } from './fields.ts';
import { instanceKey, pathEnd, routeKey, textBit } from './key.ts';
import { outcomeOf } from './outcome.ts';
import { PathTable } from './path-table.ts';
import { LINE_PAD, Spans, viewOf } from './spans.ts';
import { LineTimes } from './time.ts';
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

/** How much is kept from line to line: routes, and names of callers' instances. */
const ROUTE_PLACES = 1 << 13;
const ROUTE_KEY_BYTES = 1024;
const INSTANCE_PLACES = 1 << 13;
const INSTANCE_KEY_BYTES = 160;
/** Kinds of request between endpoints that are remembered. */
const MAX_CALLS = 1 << 16;
/** Instances of one caller that have a mark of their own: the bits of a number. */
const MAX_MARKED = 32;
const LF = 0x0a;
const CR = 0x0d;
const SAMPLE_BYTES = 640;

const START_TIME = slotOf('START_TIME');
const LOG_TYPE = slotOf('ACCESS_LOG_TYPE');
/** Envoy's AccessLogType: the entries that stand for a whole call, once. */
const FINAL_TYPES = new Set(['NotSet', 'DownstreamEnd', 'TcpConnectionEnd', 'UdpSessionEnd']);

/** A kind of request between two endpoints: requests of one path are one access. */
interface Call {
  readonly id: number;
  /** Absent until a request between them is accepted: a caller must not fill the tally with what is not. */
  pair: Pair | undefined;
  /** How many instances of the caller were numbered. */
  instances: number;
}

/** What is kept for lines whose ends and kind of request are the same: those of one replica of the callee. */
interface Route {
  readonly ends: Ends;
  readonly request: Request;
  from: Endpoint;
  to: Endpoint;
  /** Another one when an address has changed hands. */
  call: Call;
}

/** Stands in the place of routes that the caller's address decides: they are kept with it in their key. */
const BY_ADDRESS = 'by address';

/** An instance of the caller of a {@link Call}. */
interface Instance {
  readonly name: string | undefined;
  /** Its bit among the marks of an access: whether it was named to it. None where there are too many. */
  readonly mark: number;
}

/** Reads access logs, a line at a time: JSON, and a text format where `textScan` is given. */
export class AccessLogReader implements Reader {
  readonly #tally: Tally;
  readonly #latest: number;
  readonly #line = new Spans(SLOT_COUNT);
  readonly #json: JsonScan;
  readonly #textScan: TextScan | undefined;
  readonly #times = new LineTimes();
  readonly #key = new RunKey(SLOT_COUNT);
  readonly #routes = new ByteCache<Route | typeof BY_ADDRESS>(ROUTE_PLACES, ROUTE_KEY_BYTES);
  readonly #instances = new ByteCache<Instance>(INSTANCE_PLACES, INSTANCE_KEY_BYTES);
  readonly #counters = new PathTable<Counter>();
  readonly #calls = new Map<string, Call>();
  #lastId = 0;

  /** Throws `usage` for options that name an unknown operator. */
  constructor(tally: Tally, options: SourceOptions, textScan?: TextScan) {
    this.#tally = tally;
    this.#latest = options.now + MAX_FUTURE_MS;
    this.#json = new JsonScan(keysOf(options.fields), this.#line);
    this.#textScan = textScan;
  }

  line(bytes: Buffer, number: number): void {
    let reason: string | undefined = 'a line that is too long';
    if (bytes.length <= MAX_LINE_BYTES) {
      this.#line.load(bytes);
      reason = this.#take();
    }
    this.#read(reason, number, bytes, 0, bytes.length);
  }

  lines(bytes: Buffer, before: number): number {
    // The last line, and whatever else has too little behind it, is copied.
    const inPlace = bytes.lastIndexOf(LF, Math.max(0, bytes.length - 1 - LINE_PAD)) + 1;
    const view = viewOf(bytes);
    let number = before;
    let from = 0;
    while (from < bytes.length) {
      number++;
      const first = bytes[from];
      const scanned = from < inPlace && first === 0x7b;
      from = (scanned ? this.#lineIn(bytes, view, from, number) : this.#lineOf(bytes, from, number)) + 1;
    }
    return number;
  }

  /** Reads a line where it lies; gives the place of its line feed. */
  #lineIn(bytes: Buffer, view: DataView, from: number, number: number): number {
    const line = this.#line;
    line.loadFrom(bytes, view, from);
    const reason = this.#take();
    // The scanner finds the end of a line that is not broken.
    const end = line.to >= 0 ? line.to : bytes.indexOf(LF, from);
    this.#read(reason, number, bytes, from, end);
    return end;
  }

  /** Reads a copy of a line, unless it is empty; gives the place of its line feed, or of the end. */
  #lineOf(bytes: Buffer, from: number, number: number): number {
    const feed = bytes.indexOf(LF, from);
    const end = feed < 0 ? bytes.length : feed;
    const stop = end > from && bytes[end - 1] === CR ? end - 1 : end;
    if (stop > from) this.line(bytes.subarray(from, stop), number);
    return end;
  }

  /** Counts a line that was taken in, or left out for a reason. */
  #read(reason: string | undefined, number: number, bytes: Buffer, from: number, to: number): void {
    const tally = this.#tally;
    tally.read++;
    if (reason === undefined) tally.accepted++;
    else {
      const end = bytes[to] === LF && bytes[to - 1] === CR ? to - 1 : to;
      tally.skip(reason, number, bytes.toString('utf8', from, Math.min(end, from + SAMPLE_BYTES)));
    }
  }

  end(): void {
    // Every line stands for itself: nothing waits for a later one.
  }

  /** Takes in the line that is loaded, or gives the reason why not. */
  #take(): string | undefined {
    const line = this.#line;
    const broken = this.#scan();
    if (broken !== undefined) return broken;
    if (!line.has(START_TIME)) return 'no start time';
    const at = this.#times.of(
      line.bytes,
      line.view,
      line.start[START_TIME] as number,
      line.end[START_TIME] as number,
    );
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
    if (this.#textScan !== undefined && line.bytes[line.from] === 0x5b) return this.#textScan(line);
    const scanned = this.#json.scan();
    if (scanned === 'too deep') return `nested more than ${MAX_DEPTH} deep`;
    if (scanned === 'broken')
      return line.bytes[line.from] === 0x7b ? 'broken JSON' : 'not an access-log line';
    if (line.to - line.from > MAX_LINE_BYTES) return 'a line that is too long';
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
    const route = { ends, request, from, to, call: this.#call(ends, request, from, to) };
    const key = this.#key;
    routeKey(key, line, false);
    if (ends.byAddress) {
      if (this.#routes.get(key) === undefined) this.#routes.put(key, BY_ADDRESS);
      routeKey(key, line, true);
    }
    this.#routes.put(key, route);
    return route;
  }

  /** One for all routes whose requests of one path are one access: those of the many instances of both ends. */
  #call({ side, port }: Ends, { kind, method, grpc, pathSlot }: Request, from: Endpoint, to: Endpoint): Call {
    const parts = [endpointKey(from), endpointKey(to), side, port, kind, method, grpc, pathSlot];
    const text = parts.join('\n');
    let call = this.#calls.get(text);
    if (call === undefined) {
      if (this.#calls.size === MAX_CALLS) this.#calls.clear();
      this.#lastId = (this.#lastId + 1) | 0;
      call = { id: this.#lastId, pair: undefined, instances: 0 };
      this.#calls.set(text, call);
    }
    return call;
  }

  /** Ends known by an address are asked for again at every time: addresses change hands. */
  #attribute(route: Route, at: number): void {
    const from = this.#endpoint(route.ends.from, at);
    const to = this.#endpoint(route.ends.to, at);
    if (isSame(from, route.from) && isSame(to, route.to)) return;
    route.from = from;
    route.to = to;
    route.call = this.#call(route.ends, route.request, from, to);
  }

  #endpoint(end: LineEnd, at: number): Endpoint {
    return endpointOf(end, rests(end) ? this.#tally.endpointOfIp(end.ip, at) : undefined);
  }

  #instance(call: Call, { side }: Ends): Instance {
    const key = this.#key;
    instanceKey(key, this.#line, call.id);
    let instance = this.#instances.get(key);
    if (instance === undefined) {
      const number = call.instances++;
      instance = { name: instanceOf(this.#line, side), mark: number < MAX_MARKED ? 1 << number : 0 };
      this.#instances.put(key, instance);
    }
    return instance;
  }

  #count(route: Route, at: number): string | undefined {
    const { ends, request, call, from, to } = route;
    const line = this.#line;
    const row = this.#row(route);
    if (typeof row === 'string') return row;
    const counter = this.#counters.value(row);
    counter.add(at, outcomeOf(line, request.kind === 'tcp'));
    const { name, mark } = this.#instance(call, ends);
    const marks = this.#counters.marks(row);
    if (name !== undefined && (marks & mark) === 0) {
      addInstance(counter.evidence, name);
      this.#counters.setMarks(row, marks | mark);
    }
    if (from.entity === 'unknown') {
      this.#tally.blindSpot({ kind: 'unknown-caller', from, to, what: `port ${ends.port}` }, at);
    }
    if (ends.mutual) counter.evidence.mutual++;
    else if (ends.plaintext) counter.evidence.plaintext++;
    this.#tally.cover(at);
    return undefined;
  }

  /** The row of the line's access among the counters, or the reason why it has none. */
  #row({ ends, request, call, from, to }: Route): number | string {
    const line = this.#line;
    const { id } = call;
    const slot = request.pathSlot;
    const has = line.has(slot);
    const flags = textBit(line) | (has ? 1 : 0);
    const start = has ? (line.start[slot] as number) : 0;
    const end = has ? pathEnd(line, slot) : 0;
    const known = has && end === line.end[slot];
    const hash = known ? (line.hash[slot] as number) : hashBytes(line.view, start, end - start);
    const row = this.#counters.find(id, flags, line.view, start, end - start, hash);
    if (row >= 0) return row;
    const action = actionOf(line, request, ends.port);
    if (typeof action === 'string') return action;
    call.pair ??= this.#tally.pair(from, to, ends.side);
    return this.#counters.add(id, flags, line.view, start, end - start, call.pair.access(action));
  }
}

function rests(end: LineEnd): end is LineEnd & { ip: string } {
  return end.spiffeId === undefined && end.ip !== undefined;
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a === b || endpointKey(a) === endpointKey(b);
}
