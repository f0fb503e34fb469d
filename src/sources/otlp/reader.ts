import { InterlockError, type Tally } from '../../access/index.ts';
import { MAX_DEPTH, MAX_FUTURE_MS, MIN_TIME_MS, type Reader, type SourceOptions } from '../source.ts';
import { packSpans, unpackSpans } from './carry.ts';
import { Joiner, LIMITS, type Limits } from './join.ts';
import { type Emitter, emitterOf } from './resource.ts';
import { type Answer, readSaid, type Said } from './said.ts';
import { ratioOf, ratioText } from './sampling.ts';
import { isServing, kindOf, type Span } from './span.ts';
import {
  idOf,
  isPlain,
  listOf,
  MAX_NAME_LENGTH,
  millisOf,
  nestsWithin,
  objectOf,
  type Outside,
} from './values.ts';

/** Distinct results of reading attributes (and distinct resources) that are shared between spans. */
const MAX_SHARED = 50_000;
/** What a JSON document over several lines begins with. */
const PRETTY = /^[[{]\s*$|^\{?\s*"resourceSpans"\s*:\s*\[?\s*\{?\s*$/;

/** Reads export requests, one a line, into spans, and leaves finding their parents to the {@link Joiner}. */
export class OtlpReader implements Reader {
  readonly #tally: Tally;
  readonly #joiner: Joiner;
  readonly #latest: number;
  readonly #saids = new Map<string, Said>();
  readonly #emitters = new Map<string, Emitter>();

  constructor(tally: Tally, options: SourceOptions, limits: Limits = LIMITS) {
    this.#tally = tally;
    this.#latest = options.now + MAX_FUTURE_MS;
    this.#joiner = new Joiner(tally, limits);
    if (options.carry === undefined) return;
    const spans = unpackSpans(options.carry);
    if (spans === undefined) tally.skip('open spans of an earlier recording are unreadable', 0, '');
    else for (const span of spans) this.#joiner.restore(span);
  }

  line(bytes: Buffer, number: number): void {
    const text = bytes
      .toString('utf8')
      .replace(/^\uFEFF/, '')
      .trim();
    if (text === '') return;
    if (!nestsWithin(bytes, MAX_DEPTH)) {
      this.#skipLine(`nested deeper than ${MAX_DEPTH}`, number, text);
      return;
    }
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      if (number === 1 && PRETTY.test(text)) throw severalLines();
      this.#skipLine('broken JSON', number, text);
      return;
    }
    for (const request of Array.isArray(json) ? json : [json]) this.#request(request, number, text);
  }

  end(): void {
    this.#joiner.end();
  }

  carry(): unknown {
    return packSpans(this.#joiner.waiting());
  }

  #skipLine(reason: string, number: number, text: string): void {
    this.#tally.read++;
    this.#tally.skip(reason, number, text);
  }

  #request(request: unknown, number: number, text: string): void {
    const root = objectOf(request);
    const groups = root?.['resourceSpans'];
    if (root === undefined || !Array.isArray(groups)) {
      this.#skipLine(reasonFor(root), number, text);
      return;
    }
    for (const group of groups) {
      const resourceSpans = objectOf(group);
      const emitter = this.#emitter(resourceSpans?.['resource']);
      // `instrumentationLibrarySpans` is what `scopeSpans` was called before OTLP 0.15.
      for (const scope of listOf(
        resourceSpans?.['scopeSpans'] ?? resourceSpans?.['instrumentationLibrarySpans'],
      )) {
        for (const span of listOf(objectOf(scope)?.['spans'])) this.#span(span, emitter, number);
      }
    }
  }

  /** Spans of one resource share one emitter, so that memory does not grow with their number. */
  #emitter(resource: unknown): Emitter | undefined {
    const emitter = emitterOf(resource);
    return emitter === undefined ? undefined : shared(this.#emitters, JSON.stringify(emitter), emitter);
  }

  #span(raw: unknown, emitter: Emitter | undefined, number: number): void {
    this.#tally.read++;
    const span = objectOf(raw);
    const reason = span === undefined ? 'not a span' : this.#take(span, emitter);
    if (reason !== undefined) this.#tally.skip(reason, number, JSON.stringify(raw).slice(0, 1000));
    else this.#tally.accepted++;
  }

  /** Takes a span in, or gives the reason why not. */
  #take(raw: Outside, emitter: Emitter | undefined): string | undefined {
    const trace = idOf(raw['traceId'], 16);
    const id = idOf(raw['spanId'], 8);
    const parent = idOf(raw['parentSpanId'], 8);
    if (!trace || !id || parent === undefined) return 'span without valid ids';
    if (emitter === undefined) return 'span of a resource that names no service';
    const at = millisOf(raw['startTimeUnixNano']);
    if (at === undefined) return 'span without a start time';
    if (at > this.#latest) return 'span that starts in the future';
    if (at < MIN_TIME_MS) return 'span that starts before 2010';
    const key = trace + id;
    const twin = this.#joiner.find(key);
    if (twin !== undefined) {
      return twin.emitter.service === emitter.service
        ? 'span that was there before'
        : 'span id of another service (one id for both sides of a call, as Zipkin does)';
    }
    const ratio =
      this.#add(raw, key, parent === '' ? '' : trace + parent, at, emitter) ?? ratioOf(raw['traceState']);
    this.#tally.cover(at);
    if (ratio !== undefined) {
      const to = emitter.endpoint;
      this.#joiner.spots.once(
        { kind: 'sampled', from: { entity: 'unknown' }, to, what: ratioText(ratio) },
        at,
      );
    }
    return undefined;
  }

  /** Gives the joiner the span; returns the sampling ratio that its attributes state. */
  #add(raw: Outside, key: string, parent: string, at: number, emitter: Emitter): number | undefined {
    const kind = kindOf(raw['kind']);
    const answer: Answer = { code: 'none', http: false };
    const said = this.#said(nameOf(raw['name']), raw['attributes'], isServing(kind), answer);
    const status = objectOf(raw['status'])?.['code'];
    const span: Span = {
      key,
      parent,
      at,
      kind,
      code: answer.code,
      error: status === 2 || status === '2' || status === 'STATUS_CODE_ERROR',
      answered: answer.http,
      emitter,
      said,
      joined: false,
      covered: false,
      counted: false,
      orphan: undefined,
      blind: undefined,
      carried: false,
    };
    this.#joiner.add(span);
    return answer.ratio;
  }

  #said(name: string, attributes: unknown, serving: boolean, answer: Answer): Said {
    if (listOf(attributes).length === 0) return this.#saids.get(name) ?? shared(this.#saids, name, { name });
    const said = readSaid(name, attributes, serving, answer);
    return shared(this.#saids, JSON.stringify(said), said);
  }
}

/** The item that is known by this key, or this one from now on. */
function shared<T>(known: Map<string, T>, key: string, item: T): T {
  const first = known.get(key);
  if (first !== undefined) return first;
  if (known.size >= MAX_SHARED) known.clear();
  known.set(key, item);
  return item;
}

/** The name with what a terminal would act on left out. */
function nameOf(raw: unknown): string {
  if (typeof raw !== 'string') return '';
  const name = raw.length > MAX_NAME_LENGTH ? raw.slice(0, MAX_NAME_LENGTH) : raw;
  return isPlain(name) ? name : Array.from(name, (c) => (isPlain(c) ? c : '\uFFFD')).join('');
}

function reasonFor(root: Outside | undefined): string {
  if (root === undefined) return 'not an export request';
  if ('resourceMetrics' in root) return 'metrics, not traces';
  if ('resourceLogs' in root) return 'logs, not traces';
  return 'not an export request of traces';
}

function severalLines(): InterlockError {
  return new InterlockError(
    'invalid_recording',
    'otlp',
    'the JSON is spread over several lines; write one export request a line (`jq -c . FILE`)',
    { place: { line: 1 } },
  );
}
