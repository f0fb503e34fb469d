import { callerContains } from '../../policy/index.ts';
import { callersMeet, type Grant, isWhole, onPort, type ProtectedGrants } from '../grants.ts';
import type { Losses } from '../losses.ts';
import { type PortRange, portRanges } from '../ports.ts';
import type { Callers } from './callers.ts';
import { type Peer, peerManifest } from './peers.ts';

/** A port that some rule names, or `undefined` for all the others. */
type PortClass = number | undefined;

/** A peer with the ports on which it may connect. */
interface Row {
  readonly peer: Peer;
  readonly ports: Set<PortClass>;
}

/** A caller with the allow rules that let it in on one port. */
interface Cell {
  readonly port: PortClass;
  readonly grants: Grant[];
}

/**
 * The ingress rules of one workload: for every port that rules name, and for all others at once, the callers that
 * some allow rule lets in without those that a deny rule keeps out. Then peers with the same ports share a rule.
 */
export function ingressOf(workload: ProtectedGrants, callers: Callers, losses: Losses): Ingress {
  const rows = new Map<string, Row>();
  for (const { port, grants } of cellsOf(workload, losses)) {
    const [grant] = grants;
    if (grant === undefined) continue;
    const peer = callers.peerOf(grant);
    if (peer === undefined) {
      // Every rule that names this caller loses it, not only the first.
      for (const other of grants.slice(1)) callers.peerOf(other);
      continue;
    }
    const denied = workload.deny.filter((deny) => onPort(deny, port));
    tellConditions(grant, denied, losses);
    const peers = callers.without(
      peer,
      grant,
      denied.filter((deny) => isWhole(deny, true)),
    );
    if (peers.length === 0) continue;
    tellLosses(grants, port, workload, denied, losses);
    for (const one of peers) {
      const manifest = peerManifest(one);
      const key = JSON.stringify(manifest);
      const row = rows.get(key);
      if (row === undefined) rows.set(key, { peer: one, ports: new Set([port]) });
      else row.ports.add(port);
    }
  }
  return { rules: rulesOf([...rows.values()], workload.ports), rows: [...rows.values()] };
}

/** The rules as they stand in the document, and the peers behind them. */
export interface Ingress {
  readonly rules: Record<string, unknown>[];
  readonly rows: readonly { readonly peer: Peer }[];
}

/** One cell for each caller and port that an allow rule names. A rule under a condition is left out. */
function cellsOf({ allow, ports }: ProtectedGrants, losses: Losses): Iterable<Cell> {
  const cells = new Map<string, Cell>();
  for (const grant of allow) {
    if (grant.conditional) {
      losses.add(
        'narrower',
        'condition',
        grant,
        'A NetworkPolicy carries no conditions: the rule, which has one, is left out.',
      );
      continue;
    }
    for (const port of [...ports, undefined]) {
      if (!onPort(grant, port)) continue;
      const key = `${port ?? ''} ${grant.caller.kind} ${grant.callerText}`;
      const cell = cells.get(key);
      if (cell === undefined) cells.set(key, { port, grants: [grant] });
      else cell.grants.push(grant);
    }
  }
  return cells.values();
}

/** A deny rule that closes the port under a condition closes it always. */
function tellConditions(grant: Grant, denied: readonly Grant[], losses: Losses): void {
  for (const deny of denied) {
    if (!deny.conditional || !isWhole(deny, true) || !callersMeet(deny.caller, grant.caller)) continue;
    losses.add(
      'narrower',
      'condition',
      deny,
      'A NetworkPolicy carries no conditions: what the rule denies under one is denied always.',
    );
  }
}

function tellLosses(
  grants: readonly Grant[],
  port: PortClass,
  { allow }: ProtectedGrants,
  denied: readonly Grant[],
  losses: Losses,
): void {
  const [first] = grants;
  if (first === undefined) return;
  const { caller } = first;
  const whole = (grant: Grant) =>
    !grant.conditional &&
    isWhole(grant, false) &&
    onPort(grant, port) &&
    callerContains(grant.caller, caller);
  if (!allow.some(whole)) {
    for (const grant of grants) {
      losses.add(
        'wider',
        'http-on-l4',
        grant,
        'A NetworkPolicy sees ports, not requests: the callers of the rule may send any request to its ports.',
      );
    }
  }
  for (const deny of denied) {
    if (isWhole(deny, true) || !callersMeet(deny.caller, caller)) continue;
    losses.add(
      'wider',
      'deny-on-l4',
      deny,
      'A NetworkPolicy sees ports, not requests: the requests that the rule denies are let through where another rule opens the port to the caller.',
    );
  }
  if (caller.kind === 'cidr') tellAddressLosses(grants, denied, losses);
}

function tellAddressLosses(grants: readonly Grant[], denied: readonly Grant[], losses: Losses): void {
  for (const grant of grants) {
    losses.add(
      'wider',
      'address-not-identity',
      grant,
      'The rule is about callers without an identity; an ipBlock lets in whoever has the address, workloads with an identity as well.',
    );
  }
  for (const deny of denied) {
    if (deny.caller.kind !== 'entity') continue;
    losses.add(
      'wider',
      'entity',
      deny,
      `No address stands for ${deny.callerText}, so it cannot be denied: it is let through where an ipBlock of another rule has its address.`,
    );
  }
}

/** Peers with the same ports in one rule, in the order of their first peer. */
function rulesOf(rows: readonly Row[], named: readonly number[]): Record<string, unknown>[] {
  const groups = Map.groupBy(rows, ({ ports }) =>
    [...ports]
      .map((port) => port ?? 0)
      .sort((a, b) => a - b)
      .join(),
  );
  return [...groups.values()].map((group) => {
    const ports = group[0]?.ports ?? new Set<PortClass>();
    const numbers = new Set([...ports].filter((port) => port !== undefined));
    // A rule without `from` lets everyone in: a group has at least one peer.
    return {
      from: group.map(({ peer }) => peerManifest(peer)),
      ports: portsManifest(portRanges(named, numbers, ports.has(undefined))),
    };
  });
}

function portsManifest(ranges: readonly PortRange[] | undefined): Record<string, unknown>[] {
  // No port is every TCP port; leaving `ports` out would open UDP and SCTP as well.
  if (ranges === undefined) return [{ protocol: 'TCP' }];
  return ranges.map(({ first, last }) =>
    first === last ? { protocol: 'TCP', port: first } : { protocol: 'TCP', port: first, endPort: last },
  );
}
