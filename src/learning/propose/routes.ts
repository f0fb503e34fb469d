import { type Access, type Action, callsThatReached, principalText } from '../../access/index.ts';
import { isTemplate, normalizePath, parseTemplate } from '../../policy/index.ts';
import {
  learnTemplates,
  type PathObservation,
  type PathTemplates,
  withUniqueNames,
} from '../templates/index.ts';

/** What a rule may list as a method; the policy document takes no others. */
const METHOD = /^[A-Z][A-Z0-9-]{0,31}$/;

/** Calls that no rule can be written for, and why. */
export interface Unwritable {
  readonly what: string;
  readonly reason: string;
  readonly calls: number;
}

/** The actions of one callee with their paths as templates. */
export interface Routes {
  /** The action as a rule would name it, or undefined where no rule can. */
  readonly actionOf: (action: Action) => Action | undefined;
  readonly unwritable: readonly Unwritable[];
}

/**
 * Learns the routes of one callee from the calls that reached it, for each method and port. Paths are learned as
 * they are matched, in normal form; a path that cannot be normalised safely is refused once policies are
 * enforced, so no rule could let it pass. `given` are the routes of its OpenAPI document.
 */
export function learnRoutes(accesses: readonly Access[], given: readonly string[] | undefined): Routes {
  const observations = new Map<string, PathObservation[]>();
  const unwritable: Unwritable[] = [];
  for (const { from, action, evidence } of accesses) {
    const calls = callsThatReached(evidence);
    if (calls === 0) continue;
    const reason = whyUnwritable(action);
    if (reason !== undefined) {
      unwritable.push({ what: textOf(action), reason, calls });
      continue;
    }
    if (action.kind !== 'http') continue;
    const list = observations.get(groupOf(action)) ?? [];
    observations.set(groupOf(action), list);
    list.push({ path: matchedPath(action), from: principalText(from), count: calls });
  }
  const learned = new Map<string, PathTemplates>();
  for (const [group, list] of observations) {
    learned.set(group, learnTemplates(list, given === undefined ? {} : { given }));
  }
  return {
    unwritable,
    actionOf(action) {
      if (whyUnwritable(action) !== undefined) return undefined;
      if (action.kind !== 'http') return action;
      const path = matchedPath(action);
      return { ...action, path: withUniqueNames(learned.get(groupOf(action))?.templateOf(path) ?? path) };
    },
  };
}

type HttpAction = Extract<Action, { kind: 'http' }>;

const groupOf = ({ method, port }: HttpAction): string => `${method} ${port}`;

/** The path as it is matched. Only for actions that {@link whyUnwritable} has nothing against. */
function matchedPath({ path, method }: HttpAction): string {
  if (isTemplate(path)) return path;
  const normal = normalizePath(path, method);
  return normal.ok ? normal.path : path;
}

function textOf(action: Action): string {
  return action.kind === 'grpc'
    ? `${action.service}/${action.method}`
    : action.kind === 'http'
      ? action.path
      : 'tcp';
}

function whyUnwritable(action: Action): string | undefined {
  if (action.kind === 'tcp') return undefined;
  if (action.kind === 'grpc') {
    const parsed = parseTemplate(`/${action.service}/${action.method}`);
    return parsed.ok && parsed.template.names.length === 0 && parsed.template.segments.length === 2
      ? undefined
      : 'it is no gRPC service and method as they stand in a path';
  }
  if (!METHOD.test(action.method)) return `"${action.method.slice(0, 40)}" is no method that a rule can list`;
  if (!isTemplate(action.path)) {
    const normal = normalizePath(action.path, action.method);
    if (!normal.ok) return normal.reason;
    return normal.path.startsWith('/') ? undefined : 'a rule lists paths, and this is none';
  }
  const parsed = parseTemplate(withUniqueNames(action.path));
  return parsed.ok ? undefined : parsed.reason;
}
