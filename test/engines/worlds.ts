import type { Principal, SpiffeId, Workload } from '../../src/access/index.ts';
import type { Loss, RenderOptions } from '../../src/engines/index.ts';
import type { AccessPolicy, Rule } from '../../src/policy/index.ts';
import { type EvaluatedPod, inBlock } from '../evaluators/network-policy.ts';

/** A workload as an inventory would know it; its ID is `spiffe://e.org/ns/NAMESPACE/sa/NAME`. */
export function workloadNamed(namespace: string, name: string, more: Partial<Workload> = {}): Workload {
  return {
    // Written in the form that the standard asks for.
    id: `spiffe://e.org/ns/${namespace}/sa/${name}` as SpiffeId,
    namespace,
    name,
    identifiedBy: 'service-account',
    kind: 'Deployment',
    serviceAccount: name,
    labels: { app: name },
    ports: [],
    hostNetwork: false,
    marks: {},
    inventoried: true,
    recorded: false,
    ...more,
  };
}

/** What an engine is told of these workloads, as the command line tells it. */
export function optionsOf(workloads: readonly Workload[], shadow = false): RenderOptions {
  const byId = new Map(workloads.map((workload) => [workload.id, workload]));
  return { shadow, workload: (id) => byId.get(id), workloads };
}

/** One pod of every workload that rules may name, and of one that none names, with the labels they really have. */
export const WORKLOADS = [
  workloadNamed('a', 'server', { labels: { app: 'server' } }),
  workloadNamed('b', 'server', { labels: { app: 'server', tier: 'back' } }),
  workloadNamed('a', 'x', { labels: { app: 'x', part: 'shop' } }),
  workloadNamed('a', 'y', { labels: { app: 'y', part: 'shop', version: 'v2' } }),
  workloadNamed('b', 'x', { labels: { app: 'x', part: 'shop' } }),
  workloadNamed('a', 'stranger', { labels: { app: 'stranger' } }),
  workloadNamed('c', 'x', { labels: { app: 'x', part: 'shop' } }),
];
export const OPTIONS = optionsOf(WORKLOADS);
export interface Caller {
  readonly principal: Principal;
  readonly end: EvaluatedPod | { readonly ip: string };
}

const podOf = (
  { id, namespace, labels }: (typeof WORKLOADS)[number],
  i: number,
): Caller & { id: SpiffeId } => ({
  id,
  principal: { kind: 'workload', id },
  end: { namespace, labels, ip: `10.1.0.${i}` },
});
const PODS = WORKLOADS.map(podOf);
const OUTSIDE = ['10.1.2.3', '10.200.0.1', '192.168.1.1', 'fd00::1', '2001:db8::1'].map(
  (ip): Caller => ({ principal: { kind: 'unauthenticated', from: ip }, end: { ip } }),
);
export const CALLERS = [...PODS, ...OUTSIDE];
export const TARGETS = PODS.slice(0, 2);
export const PORTS = [80, 8080, 7070, 9, 443];

/** Whether a rule could be about the caller and port at all, read from the document alone. */
export function isAbout(
  rule: Rule,
  { principal, end }: Caller,
  port: number,
  blocksSeeEveryone: boolean,
): boolean {
  const fromOk = rule.from.some((from) => {
    if ('unauthenticated' in from) {
      const block = from.unauthenticated.from;
      if (block === 'world') return blocksSeeEveryone && principal.kind !== 'workload';
      return (
        (principal.kind !== 'workload' || blocksSeeEveryone) && block.includes('/') && inBlock(end.ip, block)
      );
    }
    if (principal.kind !== 'workload') return false;
    if ('trustDomain' in from) return from.trustDomain === 'e.org';
    if (!('workload' in from)) return false;
    return from.workload.endsWith('/*')
      ? principal.id.startsWith(from.workload.slice(0, -1))
      : principal.id === from.workload;
  });
  return fromOk && rule.to.some(({ ports }) => ports === undefined || ports.includes(port));
}

export const rulesOf = (policies: readonly AccessPolicy[], to: SpiffeId) =>
  policies
    .filter(({ spec }) => spec.protects.workload === to)
    .flatMap(({ metadata, spec }) =>
      [...spec.rules, ...spec.deny].map((rule) => ({ policy: metadata.name, rule })),
    );

/** Whether a loss of that effect was told for some rule about the caller and port. */
export function isTold(
  losses: readonly Loss[],
  effect: Loss['effect'],
  policies: readonly AccessPolicy[],
  to: SpiffeId,
  caller: Caller,
  port: number,
): boolean {
  return rulesOf(policies, to).some(
    ({ policy, rule }) =>
      isAbout(rule, caller, port, effect === 'wider') &&
      losses.some((loss) => loss.effect === effect && loss.policy === policy && loss.rule === rule.name),
  );
}
