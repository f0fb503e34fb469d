import type { CallOf } from '../../../src/api/index.ts';

const SCHEME = 'spiffe://';
const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** The control plane's own trust domain, once it is known: names of others are told apart by theirs. */
let home: string | undefined;
/** Says which trust domain goes without saying. */
export const setHome = (trustDomain: string | undefined): void => {
  home = trustDomain;
};

/**
 * What tells a SPIFFE ID apart: "shop/cart", without Kubernetes' own words. One of another trust domain says which: two
 * workloads of one name would look like one. Other texts as they are.
 */
export function shortId(text: string): string {
  if (!text.startsWith(SCHEME)) return text;
  const [domain = '', ...path] = text.slice(SCHEME.length).split('/');
  if (path.length === 0) return domain;
  const isAccount = path.length === 4 && path[0] === 'ns' && path[2] === 'sa';
  const name = isAccount ? `${path[1]}/${path[3]}` : path.join('/');
  return home === undefined || domain === home ? name : `${name} (${domain})`;
}

/** A duration in its largest unit, or two: "12s", "3h 20m". */
export function durationText(ms: number): string {
  const at = UNITS.findIndex(([, size]) => ms >= size);
  const unit = UNITS[at];
  if (unit === undefined) return '0s';
  const [name, size] = unit;
  const next = UNITS[at + 1];
  const rest = next === undefined ? 0 : Math.floor((ms % size) / next[1]);
  const whole = Math.floor(ms / size);
  return rest > 0 && next !== undefined && whole < 10
    ? `${whole}${name} ${rest}${next[0]}`
    : `${whole}${name}`;
}

/** A time, exact and the same everywhere: "2026-11-21 06:00:00Z". */
export function exactTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

const NUMBER = new Intl.NumberFormat('en');
/** A count with its thousands apart. */
export const number = (n: number): string => NUMBER.format(n);
/** 0.25 as "25 %". */
export const percent = (share: number): string => `${Number((share * 100).toFixed(2))} %`;
/** "1 proxy", "3 proxies". */
export const counted = (n: number, one: string, more = `${one}s`): string =>
  `${number(n)} ${n === 1 ? one : more}`;

/** The scope of a release. */
export type Scope = CallOf<'releases.press'>['body']['scope'];

/** As people read it: "everything", "namespace shop". */
export function scopeText(scope: Scope): string {
  switch (scope.kind) {
    case 'all':
      return 'everything';
    case 'cluster':
      return `cluster ${scope.cluster}`;
    case 'namespace':
      return `namespace ${scope.namespace}`;
    case 'workload':
      return shortId(scope.workload);
    case 'policy':
      return `policy ${scope.policy}`;
  }
}

interface Verdict {
  readonly allowed: boolean;
  readonly decidedBy: string;
  readonly rule?: string | undefined;
}

/** "allowed by web", "denied: no rule". */
export function verdictText({ allowed, decidedBy, rule }: Verdict): string {
  const why = rule === undefined ? `: ${decidedBy.replace('-', ' ')}` : ` by ${rule}`;
  return `${allowed ? 'allowed' : 'denied'}${why}`;
}

interface ActionShown {
  readonly kind: 'tcp' | 'http' | 'grpc';
  readonly port: number;
  readonly method?: string;
  readonly path?: string;
  readonly service?: string;
}

/** What a caller does: "GET /carts :8080". */
export function actionText({ kind, port, method = '', path = '', service = '' }: ActionShown): string {
  if (kind === 'tcp') return `tcp :${port}`;
  return kind === 'http' ? `${method} ${path} :${port}` : `${service}/${method} :${port}`;
}
