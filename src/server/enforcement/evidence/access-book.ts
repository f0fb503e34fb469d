import {
  type Action,
  actionKey,
  collapseHard,
  collapsePath,
  isCollapsed,
  MAX_PATHS,
  type Principal,
  principalText,
  type SpiffeId,
} from '../../../access/index.ts';
import { learnTemplates, type PathObservation, type PathTemplates } from '../../../learning/index.ts';
import { normalizePath } from '../../../policy/index.ts';
import type { SeenAccesses } from '../../../store/index.ts';

/** Different accesses to one workload, over all its callers: from the first on paths are collapsed, from the last on nothing new is kept. */
const COLLAPSED_FROM = 50_000;
const COLLAPSED_HARD_FROM = 100_000;
const MOST = 200_000;
/** Different callers of one workload; past it, those without an identity are one. */
const MOST_CALLERS = 10_000;
/** Paths of one method and port that templates are learned from. */
const MOST_OBSERVED = 20_000;

/**
 * Action keys of one caller: true for those that went well at least once. That it reached the workload is not enough: one scan
 * that is answered with 404 everywhere would make every path known.
 */
type Caller = Map<string, boolean>;

interface Callee {
  readonly callers: Map<string, Caller>;
  all: number;
  good: number;
  /** By method and port; made when somebody asks, and again when a tenth has been added. */
  learned?: {
    readonly of: number;
    readonly templates: Map<string, PathTemplates>;
    readonly known: Set<string>;
  };
}

type HttpAction = Extract<Action, { kind: 'http' }>;

/** Every access that was ever seen, in the state or live: whether it is known, and how much room there is for new ones. */
export class AccessBook {
  readonly #callees = new Map<SpiffeId, Callee>();

  constructor(seen: readonly SeenAccesses[] = []) {
    for (const { to, from, good, others } of seen) {
      const callee = this.#calleeOf(to);
      for (const key of good) put(callee, from, key, true);
      for (const key of others) put(callee, from, key, false);
    }
  }

  /** Whether it, or its like by the learned path templates, has gone well before. */
  has(from: Principal, to: SpiffeId, action: Action): boolean {
    const callee = this.#callees.get(to);
    if (callee === undefined) return false;
    const caller = principalText(from);
    const own = callee.callers.get(caller);
    // A caller's like is the caller itself: one that nothing is known of needs no templates.
    if (own === undefined) return false;
    if (own.get(actionKey(action)) === true) return true;
    return action.kind === 'http' && isLikeKnown(callee, caller, action);
  }

  /** `isGood`: some call of it ended as `ok`. */
  note(from: Principal, to: SpiffeId, action: Action, isGood: boolean): void {
    put(this.#calleeOf(to), principalText(from), actionKey(action), isGood);
  }

  /**
   * The access as it is kept: as it is, with its path collapsed where there are too many (a caller can invent them), or undefined
   * where it cannot be kept.
   */
  kept(from: Principal, to: SpiffeId, action: Action): { from: Principal; action: Action } | undefined {
    const callee = this.#callees.get(to);
    if (callee === undefined) return { from, action };
    let own = callee.callers.get(principalText(from));
    let caller = from;
    if (own === undefined && callee.callers.size >= MOST_CALLERS) {
      if (from.kind === 'workload') return undefined;
      caller = { kind: 'unauthenticated', from: 'unknown' };
      own = callee.callers.get(principalText(caller));
    }
    if (own?.has(actionKey(action)) === true) return { from: caller, action };
    const small = collapsed(action, callee.all, own?.size ?? 0);
    const isKnown = own?.has(actionKey(small)) === true;
    return isKnown || callee.all < MOST ? { from: caller, action: small } : undefined;
  }

  #calleeOf(to: SpiffeId): Callee {
    let callee = this.#callees.get(to);
    if (callee === undefined) this.#callees.set(to, (callee = { callers: new Map(), all: 0, good: 0 }));
    return callee;
  }
}

function put(callee: Callee, from: string, key: string, isGood: boolean): void {
  let caller = callee.callers.get(from);
  if (caller === undefined) callee.callers.set(from, (caller = new Map()));
  const before = caller.get(key);
  if (before === undefined) callee.all++;
  if (isGood && before !== true) callee.good++;
  if (before === undefined || (isGood && !before)) caller.set(key, isGood);
}

/** By the limits of one recording (path-limit.ts), here over all time. */
function collapsed(action: Action, all: number, own: number): Action {
  if (action.kind === 'tcp' || (own < MAX_PATHS && all < COLLAPSED_FROM)) return action;
  const { port } = action;
  if (action.kind === 'grpc') return { kind: 'http', port, method: 'POST', path: collapseHard('/') };
  if (own < 2 * MAX_PATHS && all < COLLAPSED_HARD_FROM) return { ...action, path: collapsePath(action.path) };
  if (own < 3 * MAX_PATHS) return { ...action, path: collapseHard(action.path) };
  return { kind: 'http', port, method: 'GET', path: collapseHard('/') };
}

function isLikeKnown(callee: Callee, from: string, action: HttpAction): boolean {
  const path = matchedPath(action.method, action.path);
  if (path === undefined) return false;
  if (callee.learned === undefined || callee.good > callee.learned.of * 1.1 + 10)
    callee.learned = learn(callee);
  const { templates, known } = callee.learned;
  const group = `${action.method} ${action.port}`;
  const template = templates.get(group)?.templateOf(path);
  return template !== undefined && known.has(`${from}\n${group}\n${template}`);
}

function learn(callee: Callee): NonNullable<Callee['learned']> {
  const observed = new Map<string, PathObservation[]>();
  for (const [from, actions] of callee.callers) {
    for (const [key, isGood] of actions) {
      const [, port, method = '', raw = ''] = (isGood && HTTP.exec(key)) || [];
      // A collapsed path stands for anything: nothing is its like.
      if (port === undefined || isCollapsed(raw)) continue;
      const path = matchedPath(method, raw);
      if (path === undefined) continue;
      const group = `${method} ${port}`;
      const list = observed.get(group);
      if (list === undefined) observed.set(group, [{ path, from, count: 1 }]);
      else if (list.length < MOST_OBSERVED) list.push({ path, from, count: 1 });
    }
  }
  const templates = new Map<string, PathTemplates>();
  const known = new Set<string>();
  for (const [group, list] of observed) {
    const learned = learnTemplates(list);
    // What was put together because there was too much of it says nothing of one path.
    if (learned.approximate) continue;
    templates.set(group, learned);
    for (const { path, from } of list) known.add(`${from}\n${group}\n${learned.templateOf(path)}`);
  }
  return { of: callee.good, templates, known };
}

const HTTP = /^http (\d+) (\S+) (.*)$/s;

/** The path in the form that is matched, or undefined where it is denied anyway. */
function matchedPath(method: string, path: string): string | undefined {
  if (path.includes('{')) return path;
  const normal = normalizePath(path, method);
  return normal.ok ? normal.path : undefined;
}
