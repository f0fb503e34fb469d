import { parse } from '@bufbuild/cel';

/** A condition for Envoy, or why Envoy cannot carry it. */
export type Carried =
  | {
      readonly ok: true;
      /** google.api.expr.v1alpha1.Expr in JSON. */
      readonly expr: Expr;
      /** No request makes its evaluation fail. */
      readonly total: boolean;
    }
  | { readonly ok: false; readonly reason: string };

export type Expr = Readonly<Record<string, unknown>>;

/**
 * What Envoy's CEL runtime evaluates as ours does. It is built without comprehensions, conversions to text and
 * concatenation, and limits regular expressions by itself.
 */
const FUNCTIONS = new Set(
  '_==_ _!=_ _<_ _<=_ _>_ _>=_ _&&_ _||_ !_ _?_:_ _[_] @in startsWith endsWith contains size'.split(' '),
);

/** Attribute -> Envoy's name for it, and whether every HTTP request has it, with its type. */
const ATTRIBUTES: ReadonlyMap<
  string,
  { readonly as: readonly [string, string]; readonly always?: 'string' | 'int' }
> = new Map([
  ['request.path', { as: ['request', 'path'], always: 'string' }],
  ['request.url_path', { as: ['request', 'url_path'], always: 'string' }],
  ['request.method', { as: ['request', 'method'], always: 'string' }],
  ['request.host', { as: ['request', 'host'], always: 'string' }],
  ['request.headers', { as: ['request', 'headers'] }],
  ['source.address', { as: ['source', 'address'], always: 'string' }],
  ['source.principal', { as: ['connection', 'uri_san_peer_certificate'] }],
  ['connection.uri_san_peer_certificate', { as: ['connection', 'uri_san_peer_certificate'] }],
  ['destination.port', { as: ['destination', 'port'], always: 'int' }],
]);

/**
 * What Envoy's connection manager sets, completes or takes away before any filter: a condition would see Envoy's value,
 * and hold for callers that have sent none.
 */
const OWN_HEADERS = new Set([
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-client-cert',
  'x-request-id',
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'te',
  'upgrade',
]);

/** Thrown and caught in this file: the expression holds what Envoy cannot carry. */
class NotCarried extends Error {}

/**
 * The condition as Envoy takes it. `text` was checked with the policy. `port` is the port that policies speak of where
 * it is known: the listener's own may be another.
 */
export function carryCondition(text: string, port?: number): Carried {
  try {
    const { expr } = parse(text);
    const build = new Build(port);
    const json = build.expr(expr);
    return { ok: true, expr: json, total: kindOf(expr) === 'bool' };
  } catch (error) {
    if (error instanceof NotCarried) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Numbers of the parts of {@link beforeEnd}: no condition is long enough to come to them. */
const END_IDS = 1_000_000_000;

/**
 * A condition of a rule that has an end, milliseconds since 1970 UTC: that the request, or the connection where none is seen,
 * began before it, by Envoy's own clock. With the rule's own condition where it has one.
 */
export function beforeEnd(ends: number, own?: Expr): Expr {
  const id = (n: number) => String(END_IDS + n);
  const time = {
    id: id(1),
    select_expr: { operand: { id: id(2), ident_expr: { name: 'request' } }, field: 'time' },
  };
  const text = { id: id(3), const_expr: { string_value: new Date(ends).toISOString() } };
  const end = { id: id(4), call_expr: { function: 'timestamp', args: [text] } };
  const before = { id: id(5), call_expr: { function: '_<_', args: [time, end] } };
  return own === undefined ? before : { id: id(6), call_expr: { function: '_&&_', args: [own, before] } };
}

type Parsed = ReturnType<typeof parse>['expr'] | undefined;

class Build {
  readonly #port: number | undefined;
  #id = 0;

  constructor(port: number | undefined) {
    this.#port = port;
  }

  expr(parsed: Parsed): Expr {
    const kind = parsed?.exprKind;
    // Envoy wants ids that differ; ours say nothing else.
    const id = String(++this.#id);
    switch (kind?.case) {
      case 'constExpr':
        return { id, const_expr: constant(kind.value.constantKind) };
      case 'selectExpr': {
        const name = attributeName(parsed);
        const known = name === undefined ? undefined : ATTRIBUTES.get(name);
        if (known === undefined) throw new NotCarried('it selects a field that is no attribute');
        if (name === 'destination.port' && this.#port !== undefined)
          return { id, const_expr: { int64_value: String(this.#port) } };
        const [root, field] = known.as;
        return {
          id,
          select_expr: { operand: { id: String(++this.#id), ident_expr: { name: root } }, field },
        };
      }
      case 'callExpr': {
        const { function: name, target, args } = kind.value;
        if (!FUNCTIONS.has(name)) throw new NotCarried(`it uses ${name}`);
        checkHeaders(name, [target, ...args]);
        return {
          id,
          call_expr: {
            ...(target === undefined ? {} : { target: this.expr(target) }),
            function: name,
            args: args.map((arg) => this.expr(arg)),
          },
        };
      }
      case 'listExpr':
        return { id, list_expr: { elements: kind.value.elements.map((element) => this.expr(element)) } };
      default:
        throw new NotCarried('it uses a macro, a map or a type');
    }
  }
}

/**
 * Envoy finds headers whatever their case, has pseudo-headers among them and takes Host for :authority: only
 * asking for one header by its plain name means the same.
 */
function checkHeaders(name: string, parts: readonly Parsed[]): void {
  const at = parts.findIndex((part) => attributeName(part) === 'request.headers');
  if (at < 0) return;
  // [target, collection, key] of an index, [target, key, collection] of "in".
  const key = (name === '_[_]' && at === 1 ? parts[2] : name === '@in' && at === 2 ? parts[1] : undefined)
    ?.exprKind;
  const text = key?.case === 'constExpr' ? key.value.constantKind : undefined;
  if (text?.case !== 'stringValue' || !/^[a-z0-9-]+$/.test(text.value) || text.value === 'host')
    throw new NotCarried('it asks for headers other than by a plain name in lower case');
  if (text.value.startsWith('x-envoy-') || OWN_HEADERS.has(text.value))
    throw new NotCarried('it asks for a header that Envoy itself writes or removes');
}

type Constant = Extract<NonNullable<Parsed>['exprKind'], { case: 'constExpr' }>['value']['constantKind'];

function constant(kind: Constant): Expr {
  switch (kind.case) {
    case 'boolValue':
      return { bool_value: kind.value };
    case 'int64Value':
      return { int64_value: String(kind.value) };
    case 'stringValue':
      return { string_value: kind.value };
    default:
      throw new NotCarried('it holds a constant that is no string, integer or boolean');
  }
}

/** `request.path` for a selection of an attribute. */
function attributeName(parsed: Parsed): string | undefined {
  const kind = parsed?.exprKind;
  if (kind?.case !== 'selectExpr' || kind.value.testOnly) return undefined;
  const { operand, field } = kind.value;
  return operand?.exprKind.case === 'identExpr' ? `${operand.exprKind.value.name}.${field}` : undefined;
}

type Kind = 'string' | 'int' | 'bool';
const ORDER = new Set(['_<_', '_<=_', '_>_', '_>=_']);
const TEXT = new Set(['startsWith', 'endsWith', 'contains']);

/** The type of an expression whose evaluation never fails, or undefined where it may fail or is not known. */
function kindOf(parsed: Parsed): Kind | undefined {
  const kind = parsed?.exprKind;
  if (kind?.case === 'selectExpr') return ATTRIBUTES.get(attributeName(parsed) ?? '')?.always;
  if (kind?.case === 'constExpr') {
    const { case: type } = kind.value.constantKind;
    return type === 'stringValue'
      ? 'string'
      : type === 'int64Value'
        ? 'int'
        : type === 'boolValue'
          ? 'bool'
          : undefined;
  }
  if (kind?.case !== 'callExpr') return undefined;
  const { function: name, target, args } = kind.value;
  const kinds = [...(target === undefined ? [] : [target]), ...args].map(kindOf);
  const [first] = kinds;
  if (first === undefined || kinds.some((other) => other !== first)) return undefined;
  if (name === '_&&_' || name === '_||_' || name === '!_') return first === 'bool' ? 'bool' : undefined;
  if (TEXT.has(name)) return first === 'string' ? 'bool' : undefined;
  return name === '_==_' || name === '_!=_' || ORDER.has(name) ? 'bool' : undefined;
}
