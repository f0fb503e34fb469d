import { type CelInput, celEnv, isCelError, parse, plan } from '@bufbuild/cel';
import { normalizePath } from './path.ts';
import type { AccessRequest } from './request.ts';
import { isTemplate } from './template.ts';
import { grpcPath } from '../access/index.ts';

/** Longest condition, in UTF-16 units, and deepest nesting of brackets in one. */
export const MAX_CONDITION_LENGTH = 4096;
export const MAX_CONDITION_DEPTH = 32;
/** Deepest nesting of all(), exists(), map() and filter(): each level multiplies the cost of a decision. */
export const MAX_CONDITION_LOOPS = 2;

/** How a condition turned out. `error` is a failed evaluation over attributes that were all there. */
export const FALSE = 0;
export const TRUE = 1;
export const ERROR = 2;
export const UNKNOWN = 3;
export type Outcome = typeof FALSE | typeof TRUE | typeof ERROR | typeof UNKNOWN;

/** A condition, parsed once. */
export interface Condition {
  readonly text: string;
  evaluate(bindings: Bindings): Outcome;
}

export type ParsedCondition =
  | { readonly ok: true; readonly condition: Condition }
  | { readonly ok: false; readonly reason: string };

/**
 * The attributes that a condition may name, with Envoy's names and meaning
 * (Envoy, "Attributes"; `source.principal` is Istio's name for the peer's URI SAN).
 */
export const CONDITION_ATTRIBUTES = [
  'request.path',
  'request.url_path',
  'request.method',
  'request.host',
  'request.headers',
  'source.address',
  'source.principal',
  'connection.uri_san_peer_certificate',
  'destination.port',
] as const;

/** The attributes of one request. What is in `carried` and has no value is known not to exist. */
export interface Bindings {
  readonly values: Readonly<Record<string, Map<string, CelInput>>>;
  readonly carried: ReadonlySet<string>;
}

const ENV = celEnv();
const ROOTS = new Set(CONDITION_ATTRIBUTES.map((name) => name.slice(0, name.indexOf('.'))));
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

/** Parses a condition and checks that it names only known attributes and functions. */
export function parseCondition(text: string): ParsedCondition {
  if (text.length > MAX_CONDITION_LENGTH) return no(`it is longer than ${MAX_CONDITION_LENGTH} characters`);
  if (bracketDepth(text) > MAX_CONDITION_DEPTH)
    return no(`it nests deeper than ${MAX_CONDITION_DEPTH} brackets`);
  const used = new Set<string>();
  try {
    const parsed = parse(text);
    const reason = unknownName(parsed.expr, [], used);
    if (reason !== undefined) return no(reason);
    const run = plan(ENV, parsed);
    return { ok: true, condition: { text, evaluate: (bindings) => evaluate(run, used, bindings) } };
  } catch (error) {
    // The parser's own message names the column; a stack overflow on hostile nesting ends here as well.
    if (error instanceof RangeError) return no('it is too long a chain of operators');
    return no(error instanceof Error ? error.message.replace(/^<input>:/, '').slice(0, 160) : String(error));
  }
}

function no(reason: string): ParsedCondition {
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

/** Why an expression could never be evaluated, in words, or undefined; fills `used` with the attributes it reads. */
function unknownName(
  expr: Expr | undefined,
  locals: readonly string[],
  used: Set<string>,
): string | undefined {
  const kind = expr?.exprKind;
  const first = (...parts: readonly (Expr | undefined)[]) => {
    for (const part of parts) {
      const reason = part === undefined ? undefined : unknownName(part, locals, used);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };
  switch (kind?.case) {
    case 'identExpr':
      return nameReason(kind.value.name, locals);
    case 'selectExpr': {
      const { operand, field, testOnly } = kind.value;
      const root = operand?.exprKind.case === 'identExpr' ? operand.exprKind.value.name : undefined;
      if (root === undefined || locals.includes(root) || !ROOTS.has(root)) return first(operand);
      const name = `${root}.${field}`;
      if (!(CONDITION_ATTRIBUTES as readonly string[]).includes(name)) return nameReason(name, locals);
      // has(request.host) would call an attribute absent that merely was not recorded.
      if (testOnly) return `has(${name}) is not allowed: compare the attribute itself`;
      used.add(name);
      return undefined;
    }
    case 'callExpr': {
      const { function: name, target, args } = kind.value;
      if (ENV.funcs.find(name) === undefined && !OPERATORS.has(name)) return `there is no function "${name}"`;
      return badPattern(name, args) ?? first(target, ...args);
    }
    case 'listExpr':
      return first(...kind.value.elements);
    case 'structExpr': {
      if (kind.value.messageName !== '') return `there is no type "${kind.value.messageName}"`;
      return first(
        ...kind.value.entries.flatMap((e) => [
          e.keyKind.case === 'mapKey' ? e.keyKind.value : undefined,
          e.value,
        ]),
      );
    }
    case 'comprehensionExpr': {
      const c = kind.value;
      const inner = [...locals, c.iterVar, c.iterVar2, c.accuVar];
      if (inner.length > MAX_CONDITION_LOOPS * 3) return `it nests more than ${MAX_CONDITION_LOOPS} loops`;
      const outer = first(c.iterRange, c.accuInit);
      if (outer !== undefined) return outer;
      for (const part of [c.loopCondition, c.loopStep, c.result]) {
        const reason = unknownName(part, inner, used);
        if (reason !== undefined) return reason;
      }
      return undefined;
    }
    default:
      return undefined;
  }
}

function nameReason(name: string, locals: readonly string[]): string | undefined {
  if (locals.includes(name) || TYPES.has(name)) return undefined;
  return `"${name}" is not an attribute of a request: use ${CONDITION_ATTRIBUTES.join(', ')}`;
}

/** A pattern that RE2 does not take would fail at every request. */
function badPattern(name: string, args: readonly Expr[]): string | undefined {
  const last = args.at(-1)?.exprKind;
  if (name !== 'matches' || last?.case !== 'constExpr' || last.value.constantKind.case !== 'stringValue')
    return undefined;
  const pattern = last.value.constantKind.value;
  const result = plan(ENV, parse(`"".matches(${JSON.stringify(pattern)})`))();
  return isCelError(result) ? `"${pattern}" is not an RE2 pattern` : undefined;
}

type Plan = ReturnType<typeof plan>;

function evaluate(run: Plan, used: ReadonlySet<string>, { values, carried }: Bindings): Outcome {
  let result: unknown;
  try {
    result = run(values);
  } catch {
    result = undefined;
  }
  if (result === true) return TRUE;
  if (result === false) return FALSE;
  for (const name of used) if (!carried.has(name)) return UNKNOWN;
  return ERROR;
}

/** `request.path` as Envoy has it: the path in normal form, then the query as it was sent. */
function normalWithQuery(whole: string, method: string): string | undefined {
  const normal = normalizePath(whole, method);
  if (!normal.ok) return undefined;
  const query = whole.indexOf('?');
  return query < 0 ? normal.path : normal.path + whole.slice(query);
}

/** What a condition sees of a request. */
export function bindingsOf({ from, action, attributes = {} }: AccessRequest): Bindings {
  const request = new Map<string, CelInput>();
  const source = new Map<string, CelInput>();
  const connection = new Map<string, CelInput>();
  const destination = new Map<string, CelInput>();
  const carried = new Set<string>();
  const put = (map: Map<string, CelInput>, root: string, field: string, value: CelInput | undefined) => {
    if (value === undefined) return;
    map.set(field, value);
    carried.add(`${root}.${field}`);
  };
  if (action.kind !== 'tcp') {
    const method = action.kind === 'grpc' ? 'POST' : action.method;
    const raw = action.kind === 'grpc' ? grpcPath(action.service, action.method) : action.path;
    const normal = isTemplate(raw) ? undefined : normalizePath(raw, method);
    put(request, 'request', 'method', method);
    put(request, 'request', 'url_path', normal?.ok === true ? normal.path : undefined);
    // A recorded path has lost its query: request.path is known only where the whole of it is given.
    const whole = attributes.path ?? (raw.includes('?') ? raw : undefined);
    put(request, 'request', 'path', whole === undefined ? undefined : normalWithQuery(whole, method));
    put(request, 'request', 'host', attributes.host);
    const { headers } = attributes;
    put(request, 'request', 'headers', headers === undefined ? undefined : new Map(Object.entries(headers)));
  }
  put(source, 'source', 'address', attributes.sourceAddress);
  put(destination, 'destination', 'port', action.port === 0 ? undefined : BigInt(action.port));
  if (from.kind === 'workload') {
    put(source, 'source', 'principal', from.id);
    put(connection, 'connection', 'uri_san_peer_certificate', from.id);
  } else {
    // Known not to exist: reading it is an error, not an unknown.
    carried.add('source.principal').add('connection.uri_san_peer_certificate');
  }
  return { values: { request, source, connection, destination }, carried };
}
