import { callerContains } from '../../policy/index.ts';
import { callersMeet, type Grant, isWhole, onPort, type ProtectedGrants } from '../grants.ts';
import type { Losses } from '../losses.ts';
import { portRanges } from '../ports.ts';
import { httpRules } from './http.ts';
import { type Peer, type Peers, tellLeftOut } from './peers.ts';

/** Cilium takes at most 40 ports in one member of `toPorts`. */
const MAX_PORTS = 40;

type PortClass = number | undefined;
type HttpRules = readonly Record<string, string>[] | undefined;

/** A peer with what it may do on each port: `undefined` is everything, else the http rules. */
interface Row {
  readonly peer: Peer;
  readonly ports: Map<PortClass, HttpRules>;
}

/** The two halves of the policy, and the peers that stand in them. */
export interface Ingress {
  readonly allow: Record<string, unknown>[];
  readonly deny: Record<string, unknown>[];
  readonly peers: readonly Peer[];
}

/** The ingress rules of one workload. Deny rules win in Cilium, so those about whole ports are written as they are. */
export function ingressOf(workload: ProtectedGrants, peers: Peers, losses: Losses): Ingress {
  const rows = new Map<string, Row>();
  for (const [port, grants] of cellsOf(workload, losses)) {
    const [first] = grants;
    if (first === undefined) continue;
    const peer = peers.peerOf(first);
    if ('why' in peer) {
      for (const grant of grants) tellLeftOut(losses, grant, peer);
      continue;
    }
    const denied = workload.deny.filter(
      (deny) => onPort(deny, port) && callersMeet(deny.caller, first.caller),
    );
    if (denied.some((deny) => isWhole(deny, true) && callerContains(deny.caller, first.caller))) continue;
    if (peer.field !== 'fromEndpoints') tellAddresses(grants, losses);
    const http = contentOf(first, grants, port, workload, denied, losses);
    if (http?.length === 0) continue;
    const key = JSON.stringify(peer);
    const row = rows.get(key);
    if (row === undefined) rows.set(key, { peer, ports: new Map([[port, http]]) });
    else row.ports.set(port, row.ports.has(port) ? merged(row.ports.get(port), http) : http);
  }
  const denials = denyRows(workload, peers, losses);
  return {
    allow: rulesOf([...rows.values()], workload.ports),
    deny: rulesOf(denials, workload.ports),
    peers: [...rows.values(), ...denials].map(({ peer }) => peer),
  };
}

/** Either of the two: two callers can be the same pods to Cilium. */
function merged(a: HttpRules, b: HttpRules): HttpRules {
  if (a === undefined || b === undefined) return undefined;
  return [...new Map([...a, ...b].map((rule) => [JSON.stringify(rule), rule])).values()];
}

/** The unconditional allow rules of each caller on each port. */
function cellsOf({ allow, ports }: ProtectedGrants, losses: Losses): [PortClass, Grant[]][] {
  const cells = new Map<string, [PortClass, Grant[]]>();
  for (const grant of allow) {
    if (grant.conditional) {
      const what = 'A CiliumNetworkPolicy carries no conditions: the rule, which has one, is left out.';
      losses.add('narrower', 'condition', grant, what);
      continue;
    }
    for (const port of [...ports, undefined]) {
      if (!onPort(grant, port)) continue;
      const key = `${port ?? ''} ${grant.caller.kind} ${grant.callerText}`;
      const cell = cells.get(key);
      if (cell === undefined) cells.set(key, [port, [grant]]);
      else cell[1].push(grant);
    }
  }
  return [...cells.values()];
}

/** What the caller of a cell may do: everything, or the http rules. */
function contentOf(
  first: Grant,
  grants: readonly Grant[],
  port: PortClass,
  { allow }: ProtectedGrants,
  denied: readonly Grant[],
  losses: Losses,
): HttpRules {
  const onThis = allow.filter((grant) => !grant.conditional && onPort(grant, port));
  const whole = onThis.filter((grant) => isWhole(grant, false) && callerContains(grant.caller, first.caller));
  const partial = denied.filter((deny) => !isWhole(deny, true));
  for (const deny of partial) {
    if (callerContains(deny.caller, first.caller)) continue;
    const what = `A CiliumNetworkPolicy cannot deny requests to some of the callers that rule ${first.rule} allows: they are let through.`;
    losses.add('wider', 'deny-on-l7', deny, what);
  }
  const ofAll = partial.filter((deny) => callerContains(deny.caller, first.caller));
  for (const deny of ofAll) if (deny.conditional) tellAlways(deny, losses);
  // A connection whose requests cannot be seen is denied by any deny rule about requests: what is left is HTTP.
  if (whole.length > 0) return ofAll.length === 0 ? undefined : httpRules(whole, ofAll, losses);
  tellProxied(first, onThis, losses);
  return httpRules(grants, ofAll, losses);
}

/** Where all callers' HTTP goes through the proxy, those who may speak anything else there no longer can. */
function tellProxied(first: Grant, onThis: readonly Grant[], losses: Losses): void {
  for (const grant of onThis) {
    if (!isWhole(grant, false) || !seenAsOne(first, grant)) continue;
    const what = `Rule ${first.rule} sends the same callers through the HTTP proxy: what is not HTTP is refused to them.`;
    losses.add('narrower', 'http-proxy', grant, what);
  }
}

/** Whether callers of `grant` are among those of `wide` to Cilium, to which every address outside is `world`. */
function seenAsOne({ caller: wide }: Grant, { caller }: Grant): boolean {
  const isWorld = (one: Grant['caller']) => one.kind === 'entity' && one.name === 'world';
  if (isWorld(wide) || isWorld(caller))
    return [wide, caller].every((one) => isWorld(one) || one.kind === 'cidr');
  return callerContains(wide, caller);
}

function tellAddresses(grants: readonly Grant[], losses: Losses): void {
  for (const grant of grants) {
    const what =
      'The rule is about callers without an identity; Cilium lets in whoever has the address, a workload of elsewhere with an identity as well.';
    losses.add('wider', 'address-not-identity', grant, what);
  }
}

/** Deny rules about whole ports. */
function denyRows({ deny, allow, ports }: ProtectedGrants, peers: Peers, losses: Losses): Row[] {
  const rows = new Map<string, Row>();
  for (const grant of deny) {
    if (!isWhole(grant, true)) continue;
    const peer = peers.peerOf(grant);
    const met = allow.filter((one) => callersMeet(one.caller, grant.caller) || one.caller.kind === 'cidr');
    if ('why' in peer) {
      const inside = met.find((one) => callerContains(one.caller, grant.caller));
      if (inside === undefined) continue;
      const what = `${grant.callerText} cannot be denied, because ${peer.why}: it is let through where rule ${inside.rule} lets it in.`;
      losses.add('wider', 'deny-not-subtracted', grant, what);
      continue;
    }
    if (grant.conditional) tellAlways(grant, losses);
    tellWorld(grant, allow, losses);
    const key = JSON.stringify(peer);
    const row = rows.get(key) ?? { peer, ports: new Map<PortClass, HttpRules>() };
    for (const port of [...ports, undefined]) if (onPort(grant, port)) row.ports.set(port, undefined);
    rows.set(key, row);
  }
  return [...rows.values()];
}

function tellAlways(deny: Grant, losses: Losses): void {
  const what =
    'A CiliumNetworkPolicy carries no conditions: what the rule denies under one is denied always.';
  losses.add('narrower', 'condition', deny, what);
}

/** To Cilium every address outside is `world`; to a policy only callers of whom nothing else is known. */
function tellWorld(deny: Grant, allow: readonly Grant[], losses: Losses): void {
  if (deny.caller.kind !== 'entity' || deny.caller.name !== 'world') return;
  for (const grant of allow) {
    if (grant.caller.kind !== 'cidr') continue;
    const what = `Rule ${deny.rule} denies world, which to Cilium is every address outside: on its ports the rule has no effect.`;
    losses.add('narrower', 'entity', grant, what);
  }
}

/** Peers of one kind with the same ports and contents in one rule, in the order of their first peer. */
function rulesOf(rows: readonly Row[], named: readonly number[]): Record<string, unknown>[] {
  const keyOf = ({ peer, ports }: Row) =>
    JSON.stringify([
      peer.field,
      [...ports].toSorted(([a = 0], [b = 0]) => a - b).map(([port, http]) => [port ?? 0, http ?? 0]),
    ]);
  return [...Map.groupBy(rows, keyOf).values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    return [
      { [first.peer.field]: group.map(({ peer }) => peer.value), toPorts: toPorts(first.ports, named) },
    ];
  });
}

/** Ports with the same contents in one member of `toPorts`. */
function toPorts(
  ports: ReadonlyMap<PortClass, HttpRules>,
  named: readonly number[],
): Record<string, unknown>[] {
  const groups = Map.groupBy(ports, ([, http]) => JSON.stringify(http ?? 0));
  return [...groups.values()].flatMap((group) => {
    const numbers = new Set(group.flatMap(([port]) => port ?? []));
    const others = group.some(([port]) => port === undefined);
    const http = group[0]?.[1];
    // Port 0 is every port, but not together with http rules; leaving ports out would open UDP as well.
    const every =
      http === undefined
        ? [{ port: '0', protocol: 'TCP' }]
        : [{ port: '1', endPort: 65_535, protocol: 'TCP' }];
    const list =
      portRanges(named, numbers, others)?.map(({ first, last }) => ({
        port: String(first),
        ...(first === last ? {} : { endPort: last }),
        protocol: 'TCP',
      })) ?? every;
    const rules = http === undefined ? {} : { rules: { http: [...http] } };
    return chunks(list).map((some) => ({ ports: some, ...rules }));
  });
}

function chunks<T>(list: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(list.length / MAX_PORTS) }, (_, i) =>
    list.slice(i * MAX_PORTS, (i + 1) * MAX_PORTS),
  );
}
