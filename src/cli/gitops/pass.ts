import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { compile } from '../../policy/index.ts';
import type { Api } from '../control/api.ts';
import { apply, type Conflict, type Plan, planOf, type Result, type Source } from './apply.ts';
import { GitHistory, NO_AUTHORS } from './authors.ts';
import { type Documents, policyKey, workloadsOf } from './documents.ts';
import { type Consent, type Drift, driftOf } from './drift.ts';
import { sourceNameOf } from './git.ts';
import { readSteadily, type Steady } from './steady.ts';
import { type Pasts, type PolicyPast, readPasts, readThere, type There } from './there.ts';
import type { Turn } from './turn.ts';

/** Both sides at one moment. */
export interface Sides {
  readonly source: Source;
  readonly steady: Steady;
  readonly here: Documents;
  readonly there: There;
  readonly drift: Drift;
  readonly past: (workload: SpiffeId, policy: string) => PolicyPast;
}

export interface PassInput {
  readonly api: Api;
  readonly dir: string;
  /** What the documents are said to come from, in place of what the checkout says. */
  readonly sourceName: string | undefined;
  /** Proxy documents of Envoys as well. */
  readonly withProxies: boolean;
  /** What the run before has read, for one that goes on. */
  readonly pasts?: Pasts;
  readonly signal?: AbortSignal | undefined;
}

/** Reads the directory, and says where it is from. */
export async function readHere({
  dir,
  sourceName,
  withProxies,
  signal,
}: PassInput): Promise<[Source, Steady]> {
  const steady = await readSteadily(dir, { signal, withProxies });
  const { checkout, here } = steady;
  const { commit, branch } = checkout ?? {};
  const name = sourceNameOf(here.root, checkout, sourceName);
  return [
    { name, ...(commit === undefined ? {} : { commit }), ...(branch === undefined ? {} : { branch }) },
    steady,
  ];
}

/** Compares a directory that was read with what is there now. */
export async function compareSides(
  { api, withProxies, pasts = new Map() }: Pick<PassInput, 'api' | 'withProxies' | 'pasts'>,
  source: Source,
  steady: Steady,
): Promise<Sides> {
  const { here } = steady;
  const there = await readThere(api, withProxies);
  const workloads = new Set([...workloadsOf(here.policies), ...there.targets.keys()]);
  const versions = [...workloads].flatMap((workload) => {
    const version = there.versions.get(workload);
    return version === undefined ? [] : [[workload, version] as const];
  });
  const read = await readPasts(api, new Map(versions), pasts);
  pasts.clear();
  for (const [workload, known] of read) pasts.set(workload, known);
  const past: Sides['past'] = (workload, policy) => read.get(workload)?.of(policy) ?? {};
  return { source, steady, here, there, past, drift: driftOf({ here, there, source: source.name, past }) };
}

/** What a run has come to. */
export interface Done extends Result {
  readonly sides: Sides;
  readonly plan: Plan;
}

/**
 * One run: the directory read as it is at one moment, the turn taken, and the difference applied. Nothing is changed where a
 * document is broken, or one of them would be refused there. Throws what keeps it from beginning; what it ends on is `failure`.
 */
export async function runPass(
  input: PassInput & { readonly consents: ReadonlySet<Consent>; readonly turn: Turn },
  onCompared: (sides: Sides) => void = () => {},
): Promise<Done> {
  const { api, consents, turn, signal } = input;
  const [read, steady] = await readHere(input);
  checkWhole(steady.here, consents);
  await turn.take(read.name, read, signal);
  const source = { ...read, holder: turn.holder };
  const sides = await compareSides(input, source, steady);
  onCompared(sides);
  const plan = planOf(sides.drift, consents);
  checkTargets(sides, plan);
  const history = steady.checkout && new GitHistory(steady.checkout);
  const authorsOf = (file: string, since: string | undefined) =>
    history?.authorsOf(file, since) ?? NO_AUTHORS;
  const { conflicts: stale, ...rest } = await apply({ api, ...sides, plan, signal, authorsOf }).finally(() =>
    history?.close(),
  );
  // What was done here, or only noted, is to be read again.
  for (const { workload } of [...sides.drift.policies, ...adoptedOf(sides)]) input.pasts?.delete(workload);
  const conflicts =
    stale.length === 0 || rest.failure !== undefined ? stale : await stillOpen(input, sides, stale);
  return { sides, plan, ...rest, conflicts };
}

function adoptedOf({ here, drift }: Sides): readonly { readonly workload: SpiffeId }[] {
  return drift.toAdopt.policies.flatMap((key) => {
    const found = here.policies.get(key);
    return found === undefined ? [] : [{ workload: found.document.spec.protects.workload }];
  });
}

/** Of what was changed there while it was looked at, what is not as it should be now: two syncs do the same work once. */
async function stillOpen(
  input: PassInput,
  { source, steady }: Sides,
  conflicts: readonly Conflict[],
): Promise<readonly Conflict[]> {
  const { drift } = await compareSides(input, source, steady);
  const open = new Set<string>(drift.policies.map(({ workload }) => workload));
  for (const { name } of drift.proxies) open.add(name);
  if (drift.rules.length > 0) open.add('rules');
  return conflicts.filter(({ subject }) => open.has(subject));
}

/** What the control plane would refuse of one workload is found before the first one is changed. */
function checkTargets({ there, here }: Sides, plan: Plan): void {
  for (const [workload, drift] of Map.groupBy(plan.policies, (each) => each.workload)) {
    const target = new Map(
      (there.targets.get(workload) ?? []).map((policy) => [policy.metadata.name, policy]),
    );
    for (const { name, here: kept } of drift) {
      const document = here.policies.get(policyKey(workload, name))?.document;
      if (kept === undefined || document === undefined) target.delete(name);
      else target.set(name, document);
    }
    compile([...target.values()]);
  }
}

/** What a directory that is not read as a whole does not hold may be in the rest of it. */
function checkWhole(
  { leftOut, policies, rules, proxies, root }: Documents,
  consents: ReadonlySet<Consent>,
): void {
  const takesAway = consents.has('prune') || consents.has('prune-all');
  const [first] = leftOut;
  if (takesAway && first !== undefined)
    throw new InterlockError(
      'usage',
      first.path,
      `nothing is pruned while a part of the directory is left out: ${first.path} is ${first.why}`,
    );
  if (policies.size + rules.size + proxies.size === 0)
    throw new InterlockError(
      'not_found',
      root,
      `there is no AccessPolicy or IdentityRule document below "${root}"`,
    );
}
