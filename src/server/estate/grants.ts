import type { Action } from '../../access/index.ts';
import {
  type AccessPolicy,
  authorizedAccesses,
  compile,
  type From,
  type Grant,
  type PolicySet,
} from '../../policy/index.ts';

/** Grants of one workload that are looked at one by one; a target that multiplies out to more is not asked which are unused. */
const MOST_GRANTS = 5000;

/** What a target set allows, combination by combination, made ready to say which of them an access has used. */
export interface GrantBook {
  readonly grants: readonly Grant[];
  /** Every grant as a rule of its own, whose name is its index. */
  readonly byGrant: PolicySet;
}

/** The grants of one workload's target set; undefined where there are none, or too many. */
export function grantBook(target: readonly AccessPolicy[]): GrantBook | undefined {
  const grants = authorizedAccesses(target);
  const [first] = target;
  if (first === undefined || grants.length === 0 || grants.length > MOST_GRANTS) return undefined;
  const rules = grants.map((grant, i) => ({ name: `g${i}`, from: [grant.from], to: [toOf(grant)] }));
  const policy = { ...first, metadata: { name: 'grants' }, spec: { ...first.spec, rules, deny: [] } };
  return { grants, byGrant: compile([policy]) };
}

function toOf({ protocol, port, method, path, service = '' }: Grant) {
  const ports = port === undefined ? {} : { ports: [port] };
  if (protocol === 'tcp') return { tcp: {}, ...ports };
  const methods = method === undefined ? {} : { methods: [method] };
  if (protocol === 'grpc') return { grpc: { service, ...methods }, ...ports };
  return { http: { ...methods, ...(path === undefined ? {} : { paths: [path] }) }, ...ports };
}

/** The number of a grant in its rule's name. */
export function grantIndex(rule: string | undefined): number | undefined {
  return rule === undefined ? undefined : Number(rule.slice(1));
}

/** The action of a grant; "*" and a path of any segments stand for what is not limited. */
export function actionOf({
  protocol,
  port = 0,
  method = '*',
  path = '/{path=**}',
  service = '',
}: Grant): Action {
  if (protocol === 'tcp') return { kind: 'tcp', port };
  if (protocol === 'grpc') return { kind: 'grpc', port, service, method };
  return { kind: 'http', port, method, path };
}

/** Whom a grant is about as one text. */
export function fromText(from: From): string {
  if ('workload' in from) return from.workload;
  if ('trustDomain' in from) return `spiffe://${from.trustDomain}/*`;
  if ('user' in from) return `user:${from.user.issuer}#${from.user.subject}`;
  if ('group' in from) return `group:${from.group}`;
  return `unauthenticated:${from.unauthenticated.from}`;
}
