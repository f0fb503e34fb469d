import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  type Bundle,
  type CompiledRule,
  compileRule,
  formatBundle,
  identityRuleOf,
  type IdentityRule,
  jwtAuthorityOf,
  parseBundle,
  RuleSet,
} from '../../identity/index.ts';
import { z } from 'zod';
import type {
  AgentRecord,
  Change,
  IdentityStore,
  Json,
  NewAuditEntry,
  Revocation,
} from '../../store/index.ts';
import type { BundleSet, RevocationSet } from '../agents/desk.ts';
import { Feed } from '../feed.ts';
import { DOMAIN_SETTING, type Domain, domainFromJson } from './domain.ts';
import type { Recorder } from './recorder.ts';
import { RuleLog } from './rule-log.ts';
import { type Slot, slotFromJson, slotToJson } from './slots.ts';

/** Seconds after which others should look for a new bundle: SPIFFE_Federation.md asks for a hint. */
const REFRESH_HINT = 300;
const VERSIONS_SETTING = 'versions';

/** Versions of the states that agents are sent; they outlive the process. */
interface Versions {
  readonly rules: number;
  readonly bundles: number;
  readonly revocations: number;
}

/** What changes with one step; what is absent stays. Whole lists, not differences. */
export interface Step {
  readonly slots?: readonly Slot[];
  readonly rules?: { readonly changed: readonly CompiledRule[]; readonly removed: readonly string[] };
  readonly foreign?: ReadonlyMap<string, Bundle>;
  /** What the parent says. */
  readonly upstream?: Upstream;
  readonly revocations?: { readonly list: readonly Revocation[]; readonly crls: ReadonlyMap<string, Buffer> };
  /** What else is stored in the same transaction. */
  readonly changes?: readonly Change[];
}

/** What a parent control plane has sent: it outlives the process, so that nothing is forgotten while it is away. */
export interface Upstream {
  /** The bundle of the own trust domain; undefined where the parent is of another one. */
  readonly bundle: Bundle | undefined;
  /** DER. */
  readonly crls: readonly Buffer[];
  readonly spiffeIds: readonly string[];
}

export const NO_UPSTREAM: Upstream = { bundle: undefined, crls: [], spiffeIds: [] };
const UPSTREAM_SETTING = 'upstream';

/**
 * The single writer of what a trust domain's control plane knows: authorities, rules, bundles, revocations. A step is
 * stored with its audit entry first, then shown to readers, who get complete states. Steps never overlap.
 */
export class Registry {
  readonly domain: Domain;
  readonly rules: Feed<RuleSet>;
  readonly bundles: Feed<BundleSet>;
  readonly revocations: Feed<RevocationSet>;
  readonly slots: Feed<readonly Slot[]>;
  readonly #recorder: Recorder;
  readonly #ruleLog: RuleLog;
  #foreign: ReadonlyMap<string, Bundle>;
  #revoked: readonly Revocation[];
  #crls: ReadonlyMap<string, Buffer> = new Map();
  #upstream: Upstream;
  #versions: Versions;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(loaded: Loaded, recorder: Recorder) {
    const { domain, slots, rules, foreign, revocations, upstream, versions } = loaded;
    this.domain = domain;
    this.#recorder = recorder;
    this.#foreign = foreign;
    this.#revoked = revocations;
    this.#upstream = upstream;
    this.#versions = versions;
    this.slots = new Feed(slots);
    this.rules = new Feed(rules, versions.rules);
    this.#ruleLog = new RuleLog(versions.rules);
    this.bundles = new Feed(bundleSet(domain, slots, foreign, upstream, versions.bundles), versions.bundles);
    this.revocations = new Feed(revocationSet(revocations, new Map(), upstream), versions.revocations);
  }

  get upstream(): Upstream {
    return this.#upstream;
  }

  get foreignBundles(): ReadonlyMap<string, Bundle> {
    return this.#foreign;
  }

  /** Every revocation in force. */
  get revoked(): readonly Revocation[] {
    return this.#revoked;
  }

  ruleNamesSince(version: number): ReadonlySet<string> | undefined {
    return this.#ruleLog.since(version);
  }

  /** The bundle of the own trust domain. */
  get ownBundle(): Bundle {
    const own = this.bundles.current.value.bundles.get(this.domain.trustDomain);
    if (own !== undefined) return own;
    throw new InterlockError(
      'conflict',
      this.domain.trustDomain,
      `${this.domain.trustDomain} has no authority yet`,
    );
  }

  /**
   * Takes one step: `plan` looks at the state and says what changes, or undefined for nothing. Resolves with whether
   * something did, once it is stored and shown.
   */
  step(plan: () => Promise<{ step: Step; entry: NewAuditEntry } | undefined>): Promise<boolean> {
    const run = async () => {
      const planned = await plan();
      if (planned === undefined) return false;
      await this.#take(planned.step, planned.entry);
      return true;
    };
    const done = this.#turn.then(run, run);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #take(step: Step, entry: NewAuditEntry): Promise<void> {
    const { rules, bundles, revocations } = this.#versions;
    const versions: Versions = {
      rules: rules + Number(step.rules !== undefined),
      bundles:
        bundles +
        Number(step.slots !== undefined || step.foreign !== undefined || step.upstream !== undefined),
      revocations: revocations + Number(step.revocations !== undefined || step.upstream !== undefined),
    };
    // Worked out before it is stored: what cannot be shown must not be stored.
    const slots = step.slots ?? this.slots.current.value;
    const foreign = step.foreign ?? this.#foreign;
    const upstream = step.upstream ?? this.#upstream;
    const list = step.revocations?.list ?? this.#revoked;
    const crls = step.revocations?.crls ?? this.#crls;
    const set = bundleSet(this.domain, slots, foreign, upstream, versions.bundles);
    const ruleSet = step.rules && this.rules.current.value.with(step.rules.changed, step.rules.removed);
    await this.#recorder.commit([...this.#changesOf(step), ...versionChange(versions)], entry);
    this.#versions = versions;
    this.#foreign = foreign;
    this.#upstream = upstream;
    this.#revoked = list;
    this.#crls = crls;
    if (step.slots !== undefined) this.slots.publish(slots);
    if (versions.bundles !== bundles) this.bundles.publish(set, versions.bundles);
    if (versions.revocations !== revocations)
      this.revocations.publish(revocationSet(list, crls, upstream), versions.revocations);
    if (step.rules !== undefined && ruleSet !== undefined) {
      this.#ruleLog.add(versions.rules, [
        ...step.rules.changed.map(({ name }) => name),
        ...step.rules.removed,
      ]);
      this.rules.publish(ruleSet, versions.rules);
    }
  }

  #changesOf(step: Step): Change[] {
    const changes: Change[] = [...(step.changes ?? [])];
    if (step.slots !== undefined) changes.push(...slotChanges(this.slots.current.value, step.slots));
    for (const { name, rule } of step.rules?.changed ?? []) {
      changes.push({ change: 'put', kind: 'rule', name, data: ruleJson(rule) });
    }
    for (const name of step.rules?.removed ?? []) changes.push({ change: 'remove', kind: 'rule', name });
    if (step.upstream !== undefined)
      changes.push({
        change: 'put',
        kind: 'setting',
        name: UPSTREAM_SETTING,
        data: upstreamJson(step.upstream),
      });
    if (step.foreign !== undefined) {
      for (const [name, bundle] of step.foreign) {
        if (this.#foreign.get(name) !== bundle)
          changes.push({ change: 'put', kind: 'bundle', name, data: formatBundle(bundle) });
      }
      for (const name of this.#foreign.keys()) {
        if (!step.foreign.has(name)) changes.push({ change: 'remove', kind: 'bundle', name });
      }
    }
    return changes;
  }
}

function slotChanges(before: readonly Slot[], after: readonly Slot[]): Change[] {
  const known = new Map(before.map((slot) => [slot.id, slot]));
  const changes: Change[] = after
    .filter((slot) => known.get(slot.id) !== slot)
    .map((slot) => ({ change: 'put', kind: 'authority', name: slot.id, data: slotToJson(slot) }));
  const kept = new Set(after.map(({ id }) => id));
  for (const id of known.keys())
    if (!kept.has(id)) changes.push({ change: 'remove', kind: 'authority', name: id });
  return changes;
}

function versionChange({ rules, bundles, revocations }: Versions): Change[] {
  return [{ change: 'put', kind: 'setting', name: VERSIONS_SETTING, data: { rules, bundles, revocations } }];
}

// A checked rule is plain JSON data.
const ruleJson = (rule: IdentityRule) => structuredClone(rule) as never;

/** The bundles for agents: the own one from the slots that are not revoked or from the parent, and the foreign ones. */
function bundleSet(
  domain: Domain,
  slots: readonly Slot[],
  foreign: ReadonlyMap<string, Bundle>,
  upstream: Upstream,
  version: number,
): BundleSet {
  const trusted = slots.filter(({ revokedAt }) => revokedAt === undefined);
  const roots = new Map(trusted.map(({ root }) => [root.der.toString('base64'), root.der]));
  const jwtAuthorities = trusted.flatMap(({ jwt }) =>
    jwt === undefined ? [] : [jwtAuthorityOf(jwt.keyId, jwt.spki)],
  );
  const own: Bundle = {
    trustDomain: domain.trustDomain,
    // Of a child the parent says which roots are trusted: one that it withdrew must not come back from here.
    x509Authorities: upstream.bundle?.x509Authorities ?? [...roots.values()],
    jwtAuthorities: [...(upstream.bundle?.jwtAuthorities ?? []), ...jwtAuthorities],
    sequence: version,
    refreshHint: REFRESH_HINT,
  };
  const bundles = new Map([[domain.trustDomain, own], ...foreign]);
  const documents = new Map([...bundles].map(([name, bundle]) => [name, Buffer.from(formatBundle(bundle))]));
  return { bundles, documents };
}

function revocationSet(
  list: readonly Revocation[],
  own: ReadonlyMap<string, Buffer>,
  upstream: Upstream,
): RevocationSet {
  const ids = list.flatMap(({ what, value }) => (what === 'id' ? [value] : []));
  return {
    crls: new Map([...own, ...upstream.crls.map((crl, i) => [`parent ${i}`, crl] as const)]),
    spiffeIds: new Set([...ids, ...upstream.spiffeIds]),
    serials: new Set(list.flatMap(({ what, value }) => (what === 'serial' ? [value] : []))),
  };
}

function upstreamJson({ bundle, crls, spiffeIds }: Upstream): Json {
  return {
    bundle: bundle === undefined ? null : formatBundle(bundle),
    crls: crls.map((crl) => crl.toString('base64')),
    spiffeIds,
  };
}

const upstreamSchema = z.strictObject({
  bundle: z.string().nullable(),
  crls: z.array(z.base64()),
  spiffeIds: z.array(z.string()),
});

function upstreamFromJson(data: Json | undefined, trustDomain: string): Upstream {
  if (data === undefined) return NO_UPSTREAM;
  const parsed = upstreamSchema.safeParse(data);
  if (!parsed.success)
    throw new InterlockError('state', 'identity database', 'what the parent has sent is not readable');
  const { bundle, crls, spiffeIds } = parsed.data;
  return {
    bundle: bundle === null ? undefined : parseBundle(bundle, trustDomain),
    crls: crls.map((crl) => Buffer.from(crl, 'base64')),
    spiffeIds,
  };
}

/** What the store holds, read once at the start. */
export interface Loaded {
  readonly domain: Domain;
  readonly slots: readonly Slot[];
  readonly rules: RuleSet;
  readonly foreign: ReadonlyMap<string, Bundle>;
  readonly revocations: readonly Revocation[];
  readonly upstream: Upstream;
  readonly agents: readonly AgentRecord[];
  readonly versions: Versions;
  /** Names of rules that this program can no longer read, with why: they give nothing. */
  readonly unreadable: ReadonlyMap<string, string>;
}

/** Reads the whole state. Throws `not_found` where no authority was set up, or `state`. */
export async function loadRegistry(store: IdentityStore, dir: string): Promise<Loaded> {
  const settings = new Map((await store.documents('setting')).map(({ name, data }) => [name, data]));
  const setting = settings.get(DOMAIN_SETTING);
  if (setting === undefined) {
    throw new InterlockError(
      'not_found',
      dir,
      `there is no authority in ${dir}: make one with "interlock authority init"`,
    );
  }
  const domain = domainFromJson(setting);
  const unreadable = new Map<string, string>();
  const rules: CompiledRule[] = [];
  for (const { name, data } of await store.documents('rule')) {
    try {
      rules.push(compileRule(identityRuleOf(data), domain.trustDomain));
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      unreadable.set(name, error.message);
    }
  }
  return {
    domain,
    slots: (await store.documents('authority')).map(({ data }) => slotFromJson(data)),
    rules: new RuleSet(rules),
    foreign: new Map(
      (await store.documents('bundle')).map(({ name, data }) => [name, parseBundle(String(data), name)]),
    ),
    revocations: await store.revocations(),
    upstream: upstreamFromJson(settings.get(UPSTREAM_SETTING), domain.trustDomain),
    agents: await store.agents(),
    versions: versionsOf(settings.get(VERSIONS_SETTING)),
    unreadable,
  };
}

function versionsOf(data: unknown): Versions {
  const of = (name: keyof Versions) => {
    const value = typeof data === 'object' && data !== null && name in data ? Reflect.get(data, name) : 1;
    return typeof value === 'number' ? value : 1;
  };
  return { rules: of('rules'), bundles: of('bundles'), revocations: of('revocations') };
}
