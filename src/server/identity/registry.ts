import { InterlockError } from '../../access/index.ts';
import { type Bundle, type CompiledRule, type IdentityRule, type RuleSet } from '../../identity/index.ts';
import type { Change, NewAuditEntry, Revocation } from '../../store/index.ts';
import type { BelowRevocations, BundleSet, RevocationSet } from '../agents/desk.ts';
import { type Abroad, abroadChanges } from './abroad.ts';
import { belowJson } from './below.ts';
import { keptBundle } from './bundle-limits.ts';
import { Feed } from '../feed.ts';
import type { Domain } from './domain.ts';
import { type Loaded, VERSIONS_SETTING, type Versions } from './load.ts';
import { type Timers, within } from '../timers.ts';
import { type Recorder, STORE_WAIT_MS } from './recorder.ts';
import { RuleLog } from './rule-log.ts';
import { type Slot, slotToJson } from './slots.ts';
import { bundleSet, revocationSet, UPSTREAM_SETTING, type Upstream, upstreamJson } from './states.ts';

/** What changes with one step; what is absent stays. Whole lists, not differences. */
export interface Step {
  readonly slots?: readonly Slot[];
  readonly rules?: { readonly changed: readonly CompiledRule[]; readonly removed: readonly string[] };
  readonly foreign?: ReadonlyMap<string, Bundle>;
  /** What the parent says. */
  readonly upstream?: Upstream;
  /** What others say that are not above. */
  readonly abroad?: Abroad;
  /** What child authorities have revoked, by their agent IDs. */
  readonly below?: ReadonlyMap<string, BelowRevocations>;
  readonly revocations?: { readonly list: readonly Revocation[]; readonly crls: ReadonlyMap<string, Buffer> };
  /** What else is stored in the same transaction. */
  readonly changes?: readonly Change[];
}

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
  readonly #timers: Timers;
  readonly #ruleLog: RuleLog;
  #foreign: ReadonlyMap<string, Bundle>;
  #revoked: readonly Revocation[];
  #crls: ReadonlyMap<string, Buffer> = new Map();
  #upstream: Upstream;
  #abroad: Abroad;
  #below: ReadonlyMap<string, BelowRevocations>;
  #versions: Versions;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(loaded: Loaded, recorder: Recorder, timers: Timers) {
    this.#timers = timers;
    const { domain, slots, rules, foreign, revocations, upstream, abroad, below, versions } = loaded;
    this.domain = domain;
    this.#recorder = recorder;
    this.#foreign = foreign;
    this.#revoked = revocations;
    this.#upstream = upstream;
    this.#abroad = abroad;
    this.#below = below;
    this.#versions = versions;
    this.slots = new Feed(slots);
    this.rules = new Feed(rules, versions.rules);
    this.#ruleLog = new RuleLog(versions.rules);
    const set = bundleSet(domain, slots, foreign, upstream, abroad, versions.bundles);
    this.bundles = new Feed(set, versions.bundles);
    this.revocations = new Feed(
      revocationSet(revocations, new Map(), upstream, abroad, below),
      versions.revocations,
    );
  }

  get upstream(): Upstream {
    return this.#upstream;
  }

  get abroad(): Abroad {
    return this.#abroad;
  }

  get foreignBundles(): ReadonlyMap<string, Bundle> {
    return this.#foreign;
  }

  /** What child authorities have revoked, by their agent IDs. */
  get below(): ReadonlyMap<string, BelowRevocations> {
    return this.#below;
  }

  /** The CRLs of the own authorities, by their key IDs. Undefined for a moment after a start: they are made anew. */
  get ownCrls(): ReadonlyMap<string, Buffer> | undefined {
    const isMissing = this.slots.current.value.some(
      ({ id, revokedAt }) =>
        revokedAt === undefined &&
        !this.#crls.has(id) &&
        this.#revoked.some(({ what, authority }) => what === 'serial' && authority === id),
    );
    return isMissing ? undefined : this.#crls;
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
   * something did, once it is stored and shown. Throws `unavailable` where the store takes too long: the step then
   * is taken later, since what is stored and what is shown must be the same.
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
    return within(done, STORE_WAIT_MS, this.#timers, late);
  }

  async #take(step: Step, entry: NewAuditEntry): Promise<void> {
    const { rules, bundles, revocations } = this.#versions;
    const versions: Versions = {
      rules: rules + Number(step.rules !== undefined),
      bundles: bundles + Number([step.slots, step.foreign, step.upstream, step.abroad].some(isGiven)),
      revocations:
        revocations + Number([step.revocations, step.upstream, step.abroad, step.below].some(isGiven)),
    };
    // Worked out before it is stored: what cannot be shown must not be stored.
    const slots = step.slots ?? this.slots.current.value;
    const foreign = step.foreign ?? this.#foreign;
    const upstream = step.upstream ?? this.#upstream;
    const abroad = step.abroad ?? this.#abroad;
    const below = step.below ?? this.#below;
    const list = step.revocations?.list ?? this.#revoked;
    const crls = step.revocations?.crls ?? this.#crls;
    const set = bundleSet(this.domain, slots, foreign, upstream, abroad, versions.bundles);
    const ruleSet = step.rules && this.rules.current.value.with(step.rules.changed, step.rules.removed);
    await this.#recorder.record([...this.#changesOf(step), ...versionChange(versions)], entry);
    this.#versions = versions;
    this.#foreign = foreign;
    this.#upstream = upstream;
    this.#abroad = abroad;
    this.#below = below;
    this.#revoked = list;
    this.#crls = crls;
    if (step.slots !== undefined) this.slots.publish(slots);
    if (versions.bundles !== bundles) this.bundles.publish(set, versions.bundles);
    if (versions.revocations !== revocations)
      this.revocations.publish(revocationSet(list, crls, upstream, abroad, below), versions.revocations);
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
    if (step.abroad !== undefined) changes.push(...abroadChanges(this.#abroad, step.abroad));
    if (step.upstream !== undefined)
      changes.push({
        change: 'put',
        kind: 'setting',
        name: UPSTREAM_SETTING,
        data: upstreamJson(step.upstream),
      });
    if (step.below !== undefined) {
      for (const [name, said] of step.below) {
        if (this.#below.get(name) !== said)
          changes.push({ change: 'put', kind: 'below', name, data: belowJson(said) });
      }
      for (const name of this.#below.keys())
        if (!step.below.has(name)) changes.push({ change: 'remove', kind: 'below', name });
    }
    if (step.foreign !== undefined) {
      for (const [name, bundle] of step.foreign) {
        if (this.#foreign.get(name) !== bundle)
          changes.push({ change: 'put', kind: 'bundle', name, data: keptBundle(bundle) });
      }
      for (const name of this.#foreign.keys()) {
        if (!step.foreign.has(name)) changes.push({ change: 'remove', kind: 'bundle', name });
      }
    }
    return changes;
  }
}

const isGiven = (part: unknown) => part !== undefined;

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

function late(): InterlockError {
  return new InterlockError(
    'unavailable',
    'identity database',
    `the identity database did not answer within ${STORE_WAIT_MS / 1000} s: it is done as soon as it does; look at the disk of the control plane`,
  );
}
