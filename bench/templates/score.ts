import { learnTemplates, nameless, type PathObservation } from '../../src/learning/index.ts';
import { random, valuesOfKind, zipf } from './values.ts';

/** A route of one workload and method, its callers, and how many calls each of them makes. */
export interface Route {
  /** `{kind}` for a parameter. */
  readonly template: string;
  readonly callers: readonly (readonly [from: string, calls: number])[];
}

/** How learned templates compare with the routes that made the paths. Templates are compared without names. */
export interface Score {
  readonly routes: number;
  readonly learned: number;
  readonly right: number;
  /** Learned templates that paths of two or more routes fell into. */
  readonly wrongMerges: readonly string[];
  readonly missed: readonly string[];
  readonly extra: readonly string[];
}

/** Raw paths of the routes: every parameter draws its values by Zipf's law from those of its kind. */
export function expand(routes: readonly Route[], seed: number): { seen: PathObservation; route: string }[] {
  const draw = random(seed);
  const pools = new Map<string, readonly string[]>();
  const valueOf = (kind: string): string => {
    let pool = pools.get(kind);
    if (pool === undefined) pools.set(kind, (pool = valuesOfKind(kind, draw)));
    return pool[zipf(draw, pool.length)] ?? '';
  };
  const counts = new Map<string, { seen: { path: string; from: string; count: number }; route: string }>();
  for (const { template, callers } of routes) {
    for (const [from, calls] of callers) {
      for (let i = 0; i < calls; i++) {
        const path = template.replace(/\{(\w+)\}/g, (_, kind: string) => valueOf(kind));
        const key = `${from} ${path} ${template}`;
        const known = counts.get(key);
        if (known === undefined) counts.set(key, { seen: { path, from, count: 1 }, route: template });
        else known.seen.count++;
      }
    }
  }
  return [...counts.values()];
}

/** Learns the templates of one workload and method from its expanded routes, and compares. */
export function score(routes: readonly Route[], seed: number): Score {
  const expanded = expand(routes, seed);
  const { templates, templateOf } = learnTemplates(expanded.map((e) => e.seen));
  const truth = new Map(routes.map((r) => [nameless(r.template), r.template]));
  const learned = new Set(templates.map(nameless));
  const routesOf = new Map<string, Set<string>>();
  for (const { seen, route } of expanded) {
    const template = templateOf(seen.path);
    const set = routesOf.get(template) ?? new Set();
    routesOf.set(template, set.add(nameless(route)));
  }
  return {
    routes: truth.size,
    learned: learned.size,
    right: [...learned].filter((t) => truth.has(t)).length,
    wrongMerges: [...routesOf]
      .filter(([, from]) => from.size > 1)
      .map(([t, from]) => `${t} <- ${[...from].join(', ')}`),
    missed: [...truth].filter(([t]) => !learned.has(t)).map(([, t]) => t),
    extra: templates.filter((t) => !truth.has(nameless(t))),
  };
}

/** Scores added up. */
export function total(scores: Iterable<Score>): Score {
  const sum = { routes: 0, learned: 0, right: 0, wrongMerges: [], missed: [], extra: [] };
  return [...scores].reduce<Score>(
    (a, b) => ({
      routes: a.routes + b.routes,
      learned: a.learned + b.learned,
      right: a.right + b.right,
      wrongMerges: [...a.wrongMerges, ...b.wrongMerges],
      missed: [...a.missed, ...b.missed],
      extra: [...a.extra, ...b.extra],
    }),
    sum,
  );
}

/** `calls` calls on every route of a hand-written group: all by one caller, a part also by two others. */
export function routesOfGroup(templates: readonly string[], calls: number, seed: number): Route[] {
  const draw = random(seed ^ 0x5eed);
  return templates.map((template) => {
    const others = ['reports', 'mobile'].filter(() => draw() < 0.3);
    const share = Math.ceil(calls / (others.length + 1));
    return { template, callers: [['gateway', share] as const, ...others.map((o) => [o, share] as const)] };
  });
}
