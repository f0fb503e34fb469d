import { type CelInput, celEnv, isCelError, isCelList, isCelMap, parse, plan } from '@bufbuild/cel';
import { meter, metered, workFault } from './cel-meter.ts';
import { meterLoops, spendTurn } from './cel-loops.ts';
import { boundedStrings } from './cel-strings.ts';

/** Longest expression, in UTF-16 units, and deepest nesting of brackets in one. */
export const MAX_EXPRESSION_LENGTH = 4096;
export const MAX_EXPRESSION_DEPTH = 32;
/** Deepest nesting of all(), exists(), map() and filter(): each level multiplies the cost. */
export const MAX_EXPRESSION_LOOPS = 2;

/** The names that expressions may use: a root, and its fields or `any` where they are not known beforehand. */
export type Vocabulary = Readonly<Record<string, readonly string[] | 'any'>>;

/** What the names of a vocabulary stand for; a root that is absent does not exist. */
export type Bindings = Readonly<Record<string, CelInput>>;

/** How an evaluation ended: a value without null, or why there is none. */
export type Evaluated =
  | { readonly ok: true; readonly value: Plain }
  | { readonly ok: false; readonly reason: string };
export type Plain = string | number | boolean | readonly Plain[] | { readonly [key: string]: Plain };

/** A CEL expression, parsed once. */
export interface Expression {
  readonly text: string;
  /** Root and field of what it reads, as in `k8s.namespace`, in the order of the text. */
  readonly names: readonly string[];
  /** True only for the value true; an evaluation that fails is undefined. */
  test(bindings: Bindings): boolean | undefined;
  value(bindings: Bindings): Evaluated;
}

export type ParsedExpression =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly reason: string };

const ENV = celEnv({ funcs: [...metered(celEnv({ funcs: boundedStrings }).funcs), spendTurn] });
const TYPES = new Set([
  'bool',
  'int',
  'uint',
  'double',
  'string',
  'bytes',
  'list',
  'map',
  'null_type',
  'type',
]);
/** Operators that the planner knows beside the functions of the environment. */
const OPERATORS = new Set(['_[_]', '_?_:_', '_&&_', '_||_', '@not_strictly_false', '__not_strictly_false__']);

type Parsed = ReturnType<typeof parse>;
type Expr = Parsed['expr'];

/** Parses an expression (CEL with its strings extension) and checks that every name in it can have a meaning. */
export function parseExpression(text: string, vocabulary: Vocabulary): ParsedExpression {
  if (text.length > MAX_EXPRESSION_LENGTH) return no(`it is longer than ${MAX_EXPRESSION_LENGTH} characters`);
  if (bracketDepth(text) > MAX_EXPRESSION_DEPTH)
    return no(`it nests deeper than ${MAX_EXPRESSION_DEPTH} brackets`);
  try {
    const parsed = parse(text);
    const checker = new Checker(vocabulary);
    const reason = checker.fault(parsed.expr, []);
    if (reason !== undefined) return no(reason);
    meterLoops(parsed.expr);
    return { ok: true, expression: expressionOf(text, [...checker.names], plan(ENV, parsed)) };
  } catch (error) {
    // A stack that overflows on a long chain of operators ends here as well.
    if (error instanceof RangeError) return no('it is too long a chain of operators');
    return no(error instanceof Error ? error.message.replace(/^<input>:/, '').slice(0, 160) : String(error));
  }
}

function no(reason: string): ParsedExpression {
  return { ok: false, reason };
}

function bracketDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const c of text) {
    if (c === '(' || c === '[' || c === '{') deepest = Math.max(deepest, ++depth);
    else if (c === ')' || c === ']' || c === '}') depth--;
  }
  return deepest;
}

function expressionOf(text: string, names: readonly string[], run: ReturnType<typeof plan>): Expression {
  const result = (bindings: Bindings): unknown => {
    meter.begin();
    try {
      const value = run(bindings);
      // A loop that was stopped leaves what it had: no value of it counts.
      return meter.isUsedUp ? new Error(workFault) : value;
    } catch (error) {
      return error;
    }
  };
  return {
    text,
    names,
    test(bindings) {
      const value = result(bindings);
      return typeof value === 'boolean' ? value : undefined;
    },
    value(bindings) {
      const value = result(bindings);
      if (isCelError(value) || value instanceof Error)
        return { ok: false, reason: value.message.slice(0, 160) };
      const plain = plainOf(value, 0);
      if (meter.isUsedUp) return { ok: false, reason: workFault };
      return plain === undefined
        ? { ok: false, reason: 'its value is neither text, number, boolean, list nor map' }
        : { ok: true, value: plain };
    },
  };
}

/** Finds names, functions and patterns that could never be evaluated. */
class Checker {
  readonly #vocabulary: Vocabulary;
  readonly names = new Set<string>();

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  fault(expr: Expr | undefined, locals: readonly string[]): string | undefined {
    const kind = expr?.exprKind;
    switch (kind?.case) {
      case 'identExpr':
        return this.#nameFault(kind.value.name, locals);
      case 'selectExpr': {
        const { operand, field } = kind.value;
        const root = operand?.exprKind.case === 'identExpr' ? operand.exprKind.value.name : undefined;
        if (root === undefined || locals.includes(root)) return this.fault(operand, locals);
        this.names.add(`${root}.${field}`);
        return this.#fieldFault(root, field) ?? this.fault(operand, locals);
      }
      case 'callExpr': {
        const { function: name, target, args } = kind.value;
        if (ENV.funcs.find(name) === undefined && !OPERATORS.has(name))
          return `there is no function "${name}"`;
        return patternFault(name, args) ?? this.#first([target, ...args], locals);
      }
      case 'listExpr':
        return this.#first(kind.value.elements, locals);
      case 'structExpr': {
        const { messageName, entries } = kind.value;
        if (messageName !== '') return `there is no type "${messageName}"`;
        const keys = entries.map((e) => (e.keyKind.case === 'mapKey' ? e.keyKind.value : undefined));
        return this.#first([...keys, ...entries.map((e) => e.value)], locals);
      }
      case 'comprehensionExpr': {
        const c = kind.value;
        const inner = [...locals, c.iterVar, c.iterVar2, c.accuVar];
        if (inner.length > MAX_EXPRESSION_LOOPS * 3)
          return `it nests more than ${MAX_EXPRESSION_LOOPS} loops`;
        return (
          this.#first([c.iterRange, c.accuInit], locals) ??
          this.#first([c.loopCondition, c.loopStep, c.result], inner)
        );
      }
      default:
        return undefined;
    }
  }

  #first(parts: readonly (Expr | undefined)[], locals: readonly string[]): string | undefined {
    for (const part of parts) {
      const fault = part === undefined ? undefined : this.fault(part, locals);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  #nameFault(name: string, locals: readonly string[]): string | undefined {
    if (locals.includes(name) || TYPES.has(name) || Object.hasOwn(this.#vocabulary, name)) return undefined;
    return `"${name}" is not known here: use ${Object.keys(this.#vocabulary).join(', ')}`;
  }

  #fieldFault(root: string, field: string): string | undefined {
    const fields = Object.hasOwn(this.#vocabulary, root) ? this.#vocabulary[root] : undefined;
    if (fields === undefined || fields === 'any' || fields.includes(field)) return undefined;
    return `"${root}.${field}" is not known here: use ${fields.map((name) => `${root}.${name}`).join(', ')}`;
  }
}

/** A pattern that RE2 does not take would fail at every evaluation. */
function patternFault(name: string, args: readonly Expr[]): string | undefined {
  const last = args.at(-1)?.exprKind;
  if (name !== 'matches' || last?.case !== 'constExpr' || last.value.constantKind.case !== 'stringValue')
    return undefined;
  const pattern = last.value.constantKind.value;
  meter.begin();
  const result = plan(ENV, parse(`"".matches(${JSON.stringify(pattern)})`))();
  if (meter.isUsedUp) return `"${pattern}" is too large a pattern`;
  return isCelError(result) ? `"${pattern}" is not an RE2 pattern` : undefined;
}

/** JSON data as CEL sees it: whole numbers are ints, objects are maps without a prototype. */
export function celOf(value: unknown): CelInput {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(celOf);
  if (typeof value !== 'object' || value === null) return null;
  const map = new Map<string, CelInput>();
  for (const [key, item] of Object.entries(value)) if (item !== undefined) map.set(key, celOf(item));
  return map;
}

/** A CEL value as JSON data, or undefined where it is none of ours. */
function plainOf(value: unknown, depth: number): Plain | undefined {
  if (depth > 8 || !meter.spend(1)) return undefined;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (Array.isArray(value) || isCelList(value)) {
    const items: Plain[] = [];
    for (const item of value as Iterable<unknown>) {
      const plain = plainOf(item, depth + 1);
      if (plain === undefined) return undefined;
      items.push(plain);
    }
    return items;
  }
  if (value instanceof Map || isCelMap(value)) return plainMap(value, depth);
  return undefined;
}

function plainMap(map: Iterable<readonly [unknown, unknown]>, depth: number): Plain | undefined {
  const entries: [string, Plain][] = [];
  for (const [key, item] of map) {
    const plain = plainOf(item, depth + 1);
    if (typeof key !== 'string' || plain === undefined) return undefined;
    entries.push([key, plain]);
  }
  // fromEntries defines own properties: a key "__proto__" stays a key.
  return Object.fromEntries(entries);
}
