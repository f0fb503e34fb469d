import { BlockList, isIP } from 'node:net';
import { evaluateCel } from './envoy-cel.ts';

/**
 * An evaluator of Envoy's RBAC filters, written from what envoy.config.rbac.v3 documents and not from what is
 * rendered. It reads plain JSON with the names of the .proto files and throws for what it does not know, so that
 * nothing is taken for a match or no match by accident.
 */

/** What the filters see. HTTP fields are absent for a network filter. */
export interface Traffic {
  /** Subject alternative names and subject of a client certificate; absent without TLS. */
  readonly tls?: {
    readonly uris?: readonly string[];
    readonly dns?: readonly string[];
    readonly subject?: string;
  };
  /** The physical peer; absent where the case does not say. */
  readonly remoteIp?: string;
  /** The address that a PROXY header has stated. */
  readonly statedIp?: string;
  readonly port: number;
  /** When it began, milliseconds since 1970 UTC; after every end where the case names no time. */
  readonly at?: number;
  readonly http?: {
    readonly method: string;
    /** As the filter sees it, with query. */
    readonly path: string;
    readonly host?: string;
    /** By lower-case name. */
    readonly headers?: Readonly<Record<string, string>>;
  };
}

export interface Outcome {
  readonly allowed: boolean;
  /** The policy that matched in the filter that decided. */
  readonly policyId?: string;
}

type Json = Readonly<Record<string, unknown>>;

/** Runs filters in their order: the first that denies ends it. `shadow` asks the shadow rules. */
export function runFilters(filters: readonly Json[], traffic: Traffic, shadow = false): Outcome {
  let last: Outcome = { allowed: true };
  for (const filter of filters) {
    const config = object(filter['typed_config']);
    const rules = config[shadow ? 'shadow_rules' : 'rules'];
    if (rules === undefined) continue;
    last = evaluateRules(object(rules), traffic);
    if (!last.allowed) return last;
  }
  return last;
}

/** One `RBAC` message: ALLOW allows what some policy matches, DENY what none does. */
export function evaluateRules(rules: Json, traffic: Traffic): Outcome {
  const { action = 'ALLOW', policies = {}, ...rest } = rules;
  none(rest);
  const matched = firstMatch(object(policies), traffic);
  if (action !== 'ALLOW' && action !== 'DENY') throw new Error(`action ${String(action)}`);
  const allowed = (action === 'ALLOW') === (matched !== undefined);
  return matched === undefined ? { allowed } : { allowed, policyId: matched };
}

/** Policies are asked in the order of the bytes of their names. */
function firstMatch(policies: Json, traffic: Traffic): string | undefined {
  const names = Object.keys(policies).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return names.find((name) => {
    const { permissions, principals, condition, ...rest } = object(policies[name]);
    none(rest);
    return (
      list(permissions).some((permission) => permits(object(permission), traffic)) &&
      list(principals).some((principal) => isPrincipal(object(principal), traffic)) &&
      (condition === undefined || evaluateCel(object(condition), traffic) === true)
    );
  });
}

function permits(permission: Json, traffic: Traffic): boolean {
  const [kind, value] = oneof(permission);
  switch (kind) {
    case 'any':
      return true;
    case 'and_rules':
      return list(object(value)['rules']).every((rule) => permits(object(rule), traffic));
    case 'or_rules':
      return list(object(value)['rules']).some((rule) => permits(object(rule), traffic));
    case 'not_rule':
      return !permits(object(value), traffic);
    case 'destination_port':
      return value === traffic.port;
    case 'header':
      return headerMatches(object(value), traffic);
    case 'url_path':
      return (
        traffic.http !== undefined && textMatches(object(object(value)['path']), urlPath(traffic.http.path))
      );
    case 'uri_template': {
      const config = object(object(value)['typed_config']);
      return (
        traffic.http !== undefined &&
        uriTemplate(String(config['path_template'])).test(urlPath(traffic.http.path))
      );
    }
    default:
      throw new Error(`permission ${kind}`);
  }
}

function isPrincipal(principal: Json, traffic: Traffic): boolean {
  const [kind, value] = oneof(principal);
  switch (kind) {
    case 'any':
      return true;
    case 'and_ids':
      return list(object(value)['ids']).every((id) => isPrincipal(object(id), traffic));
    case 'or_ids':
      return list(object(value)['ids']).some((id) => isPrincipal(object(id), traffic));
    case 'not_id':
      return !isPrincipal(object(value), traffic);
    case 'authenticated':
      return isAuthenticated(object(value), traffic);
    case 'direct_remote_ip':
      return inCidr(object(value), traffic.remoteIp);
    case 'remote_ip':
      return inCidr(object(value), traffic.statedIp ?? traffic.remoteIp);
    default:
      throw new Error(`principal ${kind}`);
  }
}

/** URI names, else DNS names, else the subject: a kind that is there and does not match ends it. */
function isAuthenticated({ principal_name: name, ...rest }: Json, { tls }: Traffic): boolean {
  none(rest);
  if (tls === undefined) return false;
  if (name === undefined) return true;
  const matcher = object(name);
  if (tls.uris !== undefined && tls.uris.length > 0) return tls.uris.some((uri) => textMatches(matcher, uri));
  if (tls.dns !== undefined && tls.dns.length > 0) return tls.dns.some((dns) => textMatches(matcher, dns));
  return textMatches(matcher, tls.subject ?? '');
}

function inCidr(
  { address_prefix: prefix, prefix_len: length = 0, ...rest }: Json,
  ip: string | undefined,
): boolean {
  none(rest);
  if (ip === undefined || isIP(ip) === 0) return false;
  const [text, family] = [String(prefix), isIP(String(prefix)) === 6 ? 'ipv6' : 'ipv4'] as const;
  if ((isIP(ip) === 6) !== (family === 'ipv6')) return false;
  const block = new BlockList();
  block.addSubnet(text, Number(length), family);
  return block.check(ip, family);
}

/** A header that is absent matches nothing. */
function headerMatches({ name, string_match: match, ...rest }: Json, { http }: Traffic): boolean {
  none(rest);
  if (http === undefined) return false;
  const value =
    name === ':method' ? http.method : name === ':path' ? http.path : http.headers?.[String(name)];
  return value !== undefined && textMatches(object(match), value);
}

function textMatches(matcher: Json, text: string): boolean {
  const { ignore_case: ignoreCase = false, ...kinds } = matcher;
  if (ignoreCase !== false) throw new Error('ignore_case');
  const [kind, value] = oneof(kinds);
  switch (kind) {
    case 'exact':
      return text === value;
    case 'prefix':
      return text.startsWith(String(value));
    case 'suffix':
      return text.endsWith(String(value));
    case 'contains':
      return text.includes(String(value));
    case 'safe_regex':
      // What is rendered means the same in RE2; the s flag is off in both, a full match is asked for.
      return new RegExp(`^(?:${String(object(value)['regex'])})$`).test(text);
    default:
      throw new Error(`string matcher ${kind}`);
  }
}

/** The path without query and fragment. */
export function urlPath(path: string): string {
  return path.replace(/[?#].*$/s, '');
}

const TEMPLATE_CHARACTERS = "a-zA-Z0-9\\-._~%!$&'()+,;:@=";

/** Envoy's uri_template: `*` is a segment, `**` any rest, of the path characters that it knows. */
export function uriTemplate(template: string): RegExp {
  const parts = template.split('/').map((segment) => {
    if (segment === '*' || /^\{\w+(=\*)?\}$/.test(segment)) return `[${TEMPLATE_CHARACTERS}]+`;
    if (segment === '**' || /^\{\w+=\*\*\}$/.test(segment)) return `[${TEMPLATE_CHARACTERS}/]*`;
    if (/[*{}]/.test(segment)) throw new Error(`uri template segment ${segment}`);
    return segment.replace(/[^A-Za-z0-9]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('/')}$`);
}

function oneof(message: Json): [string, unknown] {
  const [entry, ...more] = Object.entries(message);
  if (entry === undefined || more.length > 0) throw new Error(`not one of: ${JSON.stringify(message)}`);
  return entry;
}

function none(rest: Json): void {
  if (Object.keys(rest).length > 0) throw new Error(`unknown field ${Object.keys(rest).join(', ')}`);
}

function object(value: unknown): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`no object: ${String(value)}`);
  return value as Json;
}

/** A repeated field that the validation rules want to have at least one item. */
function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new Error(`an empty list is refused: ${String(value)}`);
  return value;
}
