import { actionKey, BLIND_SPOTS, type Endpoint, endpointKey } from '../../access/index.ts';
import type { Emitter } from './resource.ts';
import type { Said } from './said.ts';
import { kindOf, type Span } from './span.ts';
import type { Told } from './spots.ts';
import { listOf, objectOf, type Outside } from './values.ts';

const VERSION = 1;

/** Spans that wait for a later recording, as plain JSON data. Shared parts are written once and referred to. */
export function packSpans(spans: Iterable<Span>): unknown {
  const emitters = new Table<Emitter>((emitter) => JSON.stringify(emitter));
  const saids = new Table<Said>((said) => JSON.stringify(said));
  const spots = new Table<Told>(
    ({ kind, from, to, what, action }) =>
      `${kind}\n${endpointKey(from)}\n${endpointKey(to)}\n${what}\n${action === undefined ? '' : actionKey(action)}`,
  );
  const packed: unknown[] = [];
  for (const span of spans) {
    const flags = [span.error, span.answered, span.joined, span.covered, span.counted].map(Number);
    packed.push([
      span.key,
      span.parent,
      span.at,
      span.kind,
      span.code,
      flags.join(''),
      emitters.indexOf(span.emitter),
      saids.indexOf(span.said),
      span.orphan?.map((told) => spots.indexOf(told)) ?? null,
      span.blind === undefined ? null : spots.indexOf(span.blind),
    ]);
  }
  return {
    version: VERSION,
    emitters: emitters.items,
    saids: saids.items,
    spots: spots.items,
    spans: packed,
  };
}

class Table<T> {
  readonly items: T[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #textOf: (item: T) => string;

  constructor(textOf: (item: T) => string) {
    this.#textOf = textOf;
  }

  indexOf(item: T): number {
    const text = this.#textOf(item);
    const known = this.#indexes.get(text);
    if (known !== undefined) return known;
    this.#indexes.set(text, this.items.length);
    return this.items.push(item) - 1;
  }
}

/** The spans of {@link packSpans}; undefined where the data is not ours or of another version. */
export function unpackSpans(data: unknown): Span[] | undefined {
  const root = objectOf(data);
  if (root?.['version'] !== VERSION) return undefined;
  const emitters = listOf(root['emitters']).map(asEmitter);
  const saids = listOf(root['saids']).map(asSaid);
  const spots = listOf(root['spots']).map(asTold);
  const spans: Span[] = [];
  for (const row of listOf(root['spans'])) {
    const [key, parent, at, kind, code, flags, emitter, said, orphan, blind] = listOf(row);
    const knownEmitter = emitters[Number(emitter)];
    const knownSaid = saids[Number(said)];
    if (typeof key !== 'string' || typeof parent !== 'string' || typeof at !== 'number') return undefined;
    if (typeof flags !== 'string' || knownEmitter === undefined || knownSaid === undefined) return undefined;
    const told = Array.isArray(orphan) ? orphan.map((index) => spots[Number(index)]) : undefined;
    spans.push({
      key,
      parent,
      at,
      kind: kindOf(kind),
      code: code === 'good' || code === 'bad' ? code : 'none',
      error: flags.charAt(0) === '1',
      answered: flags.charAt(1) === '1',
      joined: flags.charAt(2) === '1',
      covered: flags.charAt(3) === '1',
      counted: flags.charAt(4) === '1',
      carried: true,
      emitter: knownEmitter,
      said: knownSaid,
      orphan: told?.filter((spot) => spot !== undefined),
      blind: blind === null ? undefined : spots[Number(blind)],
    });
  }
  return spans;
}

// The casts below stand for data that this program wrote itself into its own state; what could break a reader
// (a missing object, a missing name) is still checked.

function asEmitter(value: unknown): Emitter | undefined {
  const item = objectOf(value);
  if (item === undefined || typeof item['service'] !== 'string' || !isEndpoint(item['endpoint']))
    return undefined;
  return { instance: undefined, pod: undefined, ...item } as unknown as Emitter;
}

function asSaid(value: unknown): Said | undefined {
  const item = objectOf(value);
  return item !== undefined && typeof item['name'] === 'string' ? (item as unknown as Said) : undefined;
}

function asTold(value: unknown): Told | undefined {
  const item: Outside | undefined = objectOf(value);
  if (item === undefined || typeof item['what'] !== 'string') return undefined;
  if (!isEndpoint(item['from']) || !isEndpoint(item['to'])) return undefined;
  return Object.hasOwn(BLIND_SPOTS, String(item['kind'])) ? (item as unknown as Told) : undefined;
}

function isEndpoint(value: unknown): value is Endpoint {
  return objectOf(value) !== undefined;
}
