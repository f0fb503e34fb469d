import type { AccessRequest } from '../../src/policy/index.ts';
import { isRefused, trafficOf } from './envoy-document.ts';
import { type Outcome, runFilters } from './envoy-rbac.ts';

/**
 * Istio's AuthorizationPolicies as the RBAC filters that Istio makes of them, from what Istio documents: DENY
 * before ALLOW, policies of one action are one filter, no ALLOW policy allows. It throws for fields that it does
 * not know.
 */
type Json = Readonly<Record<string, unknown>>;

/** What Istio would answer for a workload with these policies; requests that are no HTTP go to a TCP chain. */
export function askIstio(documents: readonly Json[], request: AccessRequest): Outcome {
  // The mesh is assumed to refuse what the policy calls unsafe; the engine's remark says how it is set up.
  if (isRefused(request.action)) return { allowed: false };
  const traffic = trafficOf(request);
  return runFilters(istioFilters(documents, traffic.http === undefined), traffic);
}

function istioFilters(documents: readonly Json[], tcp: boolean): Json[] {
  return (['DENY', 'ALLOW'] as const).flatMap((action) => {
    const own = documents.filter((document) => spec(document)['action'] === action);
    if (own.length === 0) return [];
    const policies = Object.fromEntries(own.flatMap((document) => policiesOf(document, action, tcp)));
    return [{ typed_config: { rules: { action, policies } } }];
  });
}

function spec(document: Json): Json {
  return document['spec'] as Json;
}

function policiesOf(document: Json, action: 'ALLOW' | 'DENY', tcp: boolean): [string, Json][] {
  const { selector: _, action: __, rules = [], ...rest } = spec(document);
  known(rest);
  const { namespace, name } = document['metadata'] as Json;
  return (rules as Json[]).flatMap((rule, i) => {
    const policy = policyOf(rule, action, tcp);
    return policy === undefined
      ? []
      : [[`ns[${String(namespace)}]-policy[${String(name)}]-rule[${i}]`, policy] as [string, Json]];
  });
}

/** Thrown inside an ALLOW rule that has a field of HTTP on a TCP chain: Istio drops the whole rule. */
class HttpOnTcp extends Error {}

function policyOf({ from, to, ...rest }: Json, action: 'ALLOW' | 'DENY', tcp: boolean): Json | undefined {
  known(rest);
  try {
    return {
      principals: alternatives(from, 'source', (source) => sourceOf(source)),
      permissions: alternatives(to, 'operation', (operation) => operationOf(operation, action, tcp)),
    };
  } catch (error) {
    if (error instanceof HttpOnTcp) return undefined;
    throw error;
  }
}

function alternatives(items: unknown, field: string, read: (item: Json) => Json): Json[] {
  if (items === undefined) return [{ any: true }];
  if (!Array.isArray(items) || items.length === 0) throw new Error(`an empty list of ${field}`);
  return items.map((item: Json) => {
    const inner = item[field] as Json;
    if (inner === undefined || Object.keys(inner).length === 0)
      throw new Error(`an empty ${field} is refused`);
    return read(inner);
  });
}

function sourceOf({ principals, notPrincipals, ipBlocks, ...rest }: Json): Json {
  known(rest);
  const ids: Json[] = [];
  if (principals !== undefined) ids.push({ or_ids: { ids: values(principals).map(principal) } });
  if (notPrincipals !== undefined)
    ids.push({ not_id: { or_ids: { ids: values(notPrincipals).map(principal) } } });
  if (ipBlocks !== undefined) ids.push({ or_ids: { ids: values(ipBlocks).map(block) } });
  return { and_ids: { ids } };
}

function principal(value: string): Json {
  const match = textMatch(value);
  const [kind, text] = Object.entries(match)[0] ?? [];
  const name = kind === 'exact' || kind === 'prefix' ? { [kind]: `spiffe://${String(text)}` } : match;
  return { authenticated: { principal_name: name } };
}

function block(value: string): Json {
  const [address, length] = value.split('/');
  return { direct_remote_ip: { address_prefix: address, prefix_len: Number(length) } };
}

function operationOf({ ports, methods, paths, ...rest }: Json, action: 'ALLOW' | 'DENY', tcp: boolean): Json {
  known(rest);
  const rules: Json[] = [];
  if (ports !== undefined) {
    rules.push({ or_rules: { rules: values(ports).map((port) => ({ destination_port: Number(port) })) } });
  }
  const http = [
    ...(methods === undefined
      ? []
      : [values(methods).map((m) => ({ header: { name: ':method', string_match: textMatch(m) } }))]),
    ...(paths === undefined ? [] : [values(paths).map(path)]),
  ];
  if (tcp && action === 'ALLOW' && http.length > 0) throw new HttpOnTcp();
  // What denies keeps its other fields.
  if (!tcp) for (const list of http) rules.push({ or_rules: { rules: list } });
  return rules.length === 0 ? { any: true } : { and_rules: { rules } };
}

function path(value: string): Json {
  if (!/\{\*\*?\}/.test(value)) return { url_path: { path: textMatch(value) } };
  const template = value.replaceAll('{*}', '*').replaceAll('{**}', '**');
  return { uri_template: { typed_config: { path_template: template } } };
}

/** `*` is presence, a `*` at an end makes a prefix or a suffix. */
function textMatch(value: string): Json {
  if (value === '*') return { safe_regex: { regex: '.+' } };
  if (value.endsWith('*')) return { prefix: value.slice(0, -1) };
  if (value.startsWith('*')) return { suffix: value.slice(1) };
  return { exact: value };
}

function values(list: unknown): readonly string[] {
  if (
    !Array.isArray(list) ||
    list.length === 0 ||
    list.some((value) => typeof value !== 'string' || value === '')
  ) {
    throw new Error(`values ${JSON.stringify(list)}`);
  }
  return list as string[];
}

function known(rest: Json): void {
  if (Object.keys(rest).length > 0) throw new Error(`unknown field ${Object.keys(rest).join(', ')}`);
}
