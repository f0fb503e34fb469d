import { announcesKey, isPrefixWord, singular, wordsOf } from './lexicon.ts';
import type { Shape } from './shapes.ts';

/** Longest name of a parameter that Envoy's uri_template matcher takes. */
const LONGEST = 16;

const NAMES: Record<Shape | 'word', string> = {
  integer: 'id',
  number: 'number',
  uuid: 'id',
  ulid: 'id',
  hex: 'id',
  date: 'date',
  time: 'time',
  email: 'email',
  address: 'address',
  version: 'version',
  code: 'id',
  token: 'id',
  list: 'ids',
  file: 'file',
  word: 'name',
};

/** The shape that most calls had; of equals the first by name. */
function mainShape(shapes: ReadonlyMap<Shape | 'word', number> | undefined): Shape | 'word' {
  let best: Shape | 'word' = 'word';
  let most = -1;
  for (const [shape, n] of shapes ?? []) {
    if (n > most || (n === most && shape < best)) {
      best = shape;
      most = n;
    }
  }
  return best;
}

/**
 * A parameter's name, from what its values look like and the literal before it: `orders/{orderId}`,
 * `byName/{name}`, `{date}`. Unique among `used`.
 */
export function parameterName(
  shapes: ReadonlyMap<Shape | 'word', number> | undefined,
  previous: string | undefined,
  used: readonly string[],
): string {
  const shape = mainShape(shapes);
  const plain = NAMES[shape];
  let name = plain;
  if (previous !== undefined && !isPrefixWord(previous)) {
    if (announcesKey(previous)) name = plain === 'id' || plain === 'name' ? keyName(previous, plain) : plain;
    else if (plain === 'id') name = `${camel(previous)}Id`;
    else if (plain === 'name') name = camel(previous);
  }
  if (name.length > LONGEST - 2 || !/^[a-z]\w*$/i.test(name)) name = plain;
  let unique = name;
  for (let i = 2; used.includes(unique); i++) unique = `${name}${i}`;
  return unique;
}

function keyName(announcing: string, plain: string): string {
  const parts = wordsOf(announcing).filter((w) => !/^(?:by|get|find|search|lookup)$/.test(w));
  const name = camelOf(parts.map((w, i) => (i === parts.length - 1 ? singular(w) : w)));
  return name === '' ? plain : name;
}

function camel(segment: string): string {
  const parts = wordsOf(segment);
  return camelOf(parts.map((w, i) => (i === parts.length - 1 ? singular(w) : w)));
}

function camelOf(parts: readonly string[]): string {
  return parts.map((w, i) => (i === 0 ? w : w.slice(0, 1).toUpperCase() + w.slice(1))).join('');
}
