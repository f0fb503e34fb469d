// Estates of any size for the map: who calls whom is made up, always the same way; what is then shown comes from a real
// store and a real control plane.
import {
  addCall,
  addInstance,
  HOUR_MS,
  parseSpiffeId,
  type SpiffeId,
  Tally,
} from '../../src/access/index.ts';

export interface EstateSize {
  readonly workloads: number;
  readonly accesses: number;
  readonly namespaces: number;
}

export const SIZES = {
  10: { workloads: 10, accesses: 24, namespaces: 2 },
  100: { workloads: 100, accesses: 420, namespaces: 9 },
  1000: { workloads: 1000, accesses: 10_000, namespaces: 40 },
} as const satisfies Readonly<Record<number, EstateSize>>;

/** Numbers from 0 to 1 that are the same on every machine (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const AREAS = [
  'edge',
  'web',
  'shop',
  'search',
  'orders',
  'billing',
  'stock',
  'mail',
  'fraud',
  'ledger',
  'media',
  'ads',
  'people',
  'support',
  'reports',
  'batch',
  'data',
  'ml',
  'auth',
  'platform',
];
const JOBS = [
  'api',
  'gateway',
  'worker',
  'sync',
  'store',
  'index',
  'cache',
  'events',
  'admin',
  'rules',
  'quote',
  'export',
];

export const namespaceName = (i: number) => {
  const area = AREAS[i % AREAS.length] ?? 'other';
  return i < AREAS.length ? area : `${area}-${1 + Math.floor(i / AREAS.length)}`;
};

export interface MapWorkload {
  readonly id: SpiffeId;
  readonly namespace: number;
}

/** The workloads of an estate: namespaces of uneven size. */
export function workloadsOf({ workloads, namespaces }: EstateSize): MapWorkload[] {
  const next = random(workloads);
  return Array.from({ length: workloads }, (_, i) => {
    const namespace = i < namespaces ? i : Math.floor(next() ** 1.6 * namespaces);
    const name = `${JOBS[i % JOBS.length] ?? 'job'}-${Math.floor(i / JOBS.length)}`;
    return { namespace, id: parseSpiffeId(`spiffe://example.org/ns/${namespaceName(namespace)}/sa/${name}`) };
  });
}

/** One made-up access. */
export interface MapCall {
  readonly from: MapWorkload | { readonly ip: string };
  readonly to: MapWorkload;
  readonly action: {
    readonly kind: 'http';
    readonly port: number;
    readonly method: string;
    readonly path: string;
  };
  readonly perHour: number;
  readonly isPlaintext: boolean;
  readonly isNew: boolean;
}

/** Calls mostly inside a namespace and to later ones; a few back; some in plain text, some new, some from strangers. */
export function callsOf(size: EstateSize): MapCall[] {
  const all = workloadsOf(size);
  const next = random(size.accesses);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)] as T; // Never asked of an empty list.
  const calls = new Map<string, MapCall>();
  for (let tries = 0; calls.size < size.accesses && tries < size.accesses * 20; tries++) {
    const caller = pick(all);
    const nearby = all.filter(({ namespace }) => namespace === caller.namespace);
    const later = all.filter(
      ({ namespace }) => namespace > caller.namespace && namespace <= caller.namespace + 4,
    );
    const where = next();
    const callee = where < 0.5 ? pick(nearby) : where < 0.97 && later.length > 0 ? pick(later) : pick(all);
    if (callee === caller) continue;
    const isStranger = next() < 0.004;
    const method = next() < 0.7 ? 'GET' : 'POST';
    const action = { kind: 'http', port: 8080, method, path: `/${pick(JOBS)}/items` } as const;
    const from = isStranger ? { ip: `10.9.${Math.floor(next() * 3)}.${Math.floor(next() * 200)}` } : caller;
    const key = `${'ip' in from ? from.ip : from.id}\n${callee.id}\n${action.method} ${action.path}`;
    calls.set(key, {
      from,
      to: callee,
      action,
      perHour: Math.ceil(10 ** (next() * 3)),
      isPlaintext: isStranger || next() < 0.02,
      isNew: next() < 0.004,
    });
  }
  return [...calls.values()];
}

/** The calls as a collector would have seen them up to `now`. */
export function estateEvidence(size: EstateSize, now: number, days = 2): Tally {
  const tally = new Tally('envoy');
  for (const { from, to, action, perHour, isPlaintext, isNew } of callsOf(size)) {
    const caller = 'ip' in from ? from : { spiffeId: from.id };
    const { evidence } = tally.access(caller, { spiffeId: to.id }, action, 'callee');
    const hours = isNew ? 3 : days * 24;
    for (let hour = hours; hour > 0; hour--) addCall(evidence, now - hour * HOUR_MS, 'ok', perHour);
    addInstance(evidence, '10.0.0.7');
    if (isPlaintext) evidence.plaintext += perHour * hours;
    else evidence.mutual += perHour * hours;
  }
  tally.cover(now - days * 24 * HOUR_MS);
  tally.cover(now);
  tally.accepted = size.accesses;
  return tally;
}
