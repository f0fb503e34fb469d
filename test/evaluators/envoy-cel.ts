import type { Traffic } from './envoy-rbac.ts';

/**
 * The part of CEL that rendered conditions use, over google.api.expr.v1alpha1.Expr in JSON, with Envoy's
 * attributes. `undefined` is an evaluation that failed: CEL's language definition says how it spreads.
 */
type Value = string | number | boolean | Date | readonly Value[] | ReadonlyMap<string, string> | undefined;
type Json = Readonly<Record<string, unknown>>;

/** The last moment that a Date can be. */
const LATEST = 8.64e15;

/** The value of the expression, or undefined where its evaluation fails. */
export function evaluateCel(expr: Json, traffic: Traffic): Value {
  const { id: _, ...kinds } = expr;
  const [kind, raw] = Object.entries(kinds)[0] ?? ['nothing', {}];
  const value = raw as Json;
  switch (kind) {
    case 'const_expr':
      return constant(value);
    case 'select_expr':
      return attribute(
        `${String(((value['operand'] as Json)['ident_expr'] as Json)['name'])}.${String(value['field'])}`,
        traffic,
      );
    case 'list_expr':
      return (value['elements'] as Json[]).map((element) => evaluateCel(element, traffic));
    case 'call_expr':
      return call(value, traffic);
    default:
      throw new Error(`expression ${kind}`);
  }
}

function constant(value: Json): Value {
  if ('int64_value' in value) return Number(value['int64_value']);
  if ('string_value' in value) return String(value['string_value']);
  if ('bool_value' in value) return value['bool_value'] === true;
  throw new Error(`constant ${JSON.stringify(value)}`);
}

function attribute(name: string, { tls, remoteIp, port, http, at = LATEST }: Traffic): Value {
  switch (name) {
    case 'request.time':
      return new Date(Math.min(at, LATEST));
    case 'request.method':
      return http?.method;
    case 'request.path':
      return http?.path;
    case 'request.url_path':
      return http?.path.replace(/[?#].*$/s, '');
    case 'request.host':
      return http?.host;
    case 'request.headers':
      return http?.headers === undefined ? undefined : new Map(Object.entries(http.headers));
    case 'source.address':
      return remoteIp === undefined ? undefined : `${remoteIp}:1`;
    case 'connection.uri_san_peer_certificate':
      return tls?.uris?.[0];
    case 'destination.port':
      return port === 0 ? undefined : port;
    default:
      throw new Error(`attribute ${name}`);
  }
}

function call({ target, function: name, args }: Json, traffic: Traffic): Value {
  const parts = [...(target === undefined ? [] : [target as Json]), ...(args as Json[])];
  const [a, b, c] = parts.map((part) => evaluateCel(part, traffic));
  switch (name) {
    case '_&&_':
      return a === false || b === false ? false : a === true && b === true ? true : undefined;
    case '_||_':
      return a === true || b === true ? true : a === false && b === false ? false : undefined;
    case '!_':
      return typeof a === 'boolean' ? !a : undefined;
    case '_?_:_':
      return a === true ? b : a === false ? c : undefined;
    case 'timestamp':
      return typeof a === 'string' ? new Date(a) : undefined;
    default:
      return a === undefined || b === undefined ? undefined : strict(String(name), a, b);
  }
}

function strict(name: string, a: Exclude<Value, undefined>, b: Exclude<Value, undefined>): Value {
  if (a instanceof Date && b instanceof Date && name === '_<_') return a < b;
  if (name === '_==_') return a === b;
  if (name === '_!=_') return a !== b;
  if (name === '@in') {
    if (Array.isArray(b)) return b.includes(a);
    return b instanceof Map && typeof a === 'string' ? b.has(a) : undefined;
  }
  if (name === '_[_]') return a instanceof Map && typeof b === 'string' ? a.get(b) : undefined;
  if (typeof a === 'string' && typeof b === 'string') {
    if (name === 'startsWith') return a.startsWith(b);
    if (name === 'endsWith') return a.endsWith(b);
    if (name === 'contains') return a.includes(b);
  }
  if (typeof a !== typeof b || (typeof a !== 'string' && typeof a !== 'number')) return undefined;
  if (name === '_<_') return a < b;
  if (name === '_<=_') return a <= b;
  if (name === '_>_') return a > b;
  if (name === '_>=_') return a >= b;
  throw new Error(`function ${name}`);
}
