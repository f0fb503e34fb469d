import {
  type Access,
  type AccessGraph,
  type Action,
  addCall,
  addInstance,
  emptyEvidence,
  type KnownBlindSpot,
  type Outcome,
  type Principal,
  parsePrincipal,
  parseSpiffeId,
  shortNameOf,
  type SpiffeId,
  type Workload,
} from '../../access/index.ts';

export const START = Date.UTC(2026, 9, 1);
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

/** The ID of a workload of the estate under test. */
export const id = (name: string): SpiffeId => parseSpiffeId(`spiffe://example.org/ns/shop/sa/${name}`);

/** `shop` names a workload, anything with a colon or a dot an address or entity. */
export function who(name: string): Principal {
  return /^[a-z-]+$/.test(name) ? { kind: 'workload', id: id(name) } : parsePrincipal(name);
}

/** `GET /a/b :80`, `tcp :80`, `pkg.Svc/Method :80`; without a port, 0. */
export function action(text: string): Action {
  const [what = '', port = ''] = text.split(' :');
  const n = Number(port);
  if (what === 'tcp') return { kind: 'tcp', port: n };
  const [method = '', path] = what.split(' ');
  if (path !== undefined) return { kind: 'http', port: n, method, path };
  const slash = what.lastIndexOf('/');
  return { kind: 'grpc', port: n, service: what.slice(0, slash), method: what.slice(slash + 1) };
}

export interface Calls {
  readonly n?: number;
  readonly at?: readonly number[];
  readonly outcome?: Outcome;
  readonly instances?: readonly string[];
  readonly declared?: readonly string[];
  readonly collapsed?: boolean;
}

/** An observed access: `n` calls (2) at each of the times (one), from two instances. */
export function access(from: string, to: string, what: string, calls: Calls = {}): Access {
  const {
    n = 2,
    at = [START],
    outcome = 'ok',
    instances = ['p1', 'p2'],
    declared = [],
    collapsed = false,
  } = calls;
  const evidence = emptyEvidence();
  for (const time of at) addCall(evidence, time, outcome, n);
  for (const name of instances) addInstance(evidence, name);
  evidence.sources.add('envoy');
  return {
    from: who(from),
    to: who(to),
    action: action(what),
    views: declared.length > 0 ? ['declared', 'observed'] : ['observed'],
    evidence,
    declared,
    collapsed,
  };
}

/** An access that is only declared. */
export function declared(from: string, to: string, what: string, where: string): Access {
  return {
    from: who(from),
    to: who(to),
    action: action(what),
    views: ['declared'],
    evidence: emptyEvidence(),
    declared: [where],
    collapsed: false,
  };
}

/** A graph of these accesses. */
export function graphOf(
  accesses: readonly Access[],
  blindSpots: readonly KnownBlindSpot[] = [],
): AccessGraph {
  const ids = new Set(
    accesses.flatMap((a) => [a.from, a.to]).flatMap((p) => (p.kind === 'workload' ? [p.id] : [])),
  );
  const observed = accesses.filter((a) => a.evidence.counts.size > 0);
  return {
    trustDomain: 'example.org',
    workloads: new Map([...ids].map((workload) => [workload, workloadOf(workload)])),
    accesses,
    blindSpots,
    sharedAccounts: [],
    coverage: {
      firstSeen: Math.min(...observed.map((a) => a.evidence.firstSeen)),
      lastSeen: Math.max(...observed.map((a) => a.evidence.lastSeen)),
      hours: [],
      events: 0,
      lost: 0,
    },
  };
}

function workloadOf(workload: SpiffeId): Workload {
  return {
    id: workload,
    namespace: 'shop',
    name: shortNameOf(workload),
    identifiedBy: 'spiffe',
    labels: {},
    ports: [],
    hostNetwork: false,
    marks: {},
    inventoried: false,
    recorded: true,
  };
}
