import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { Bundle, CompiledRule, RuleSet } from '../../identity/index.ts';
import type { Change, NewAuditEntry, Revocation } from '../../store/index.ts';
import type { BelowRevocations, BundleSet, RevocationSet } from '../agents/desk.ts';
import type { Abroad } from './abroad.ts';
import { Feed } from '../feed.ts';
import type { Domain } from './domain.ts';
import { type Loaded, type RegistryState, VERSIONS_SETTING, type Versions } from './load.ts';
import { inTime } from '../in-time.ts';
import type { Timers } from '../timers.ts';
import type { Recorder } from './recorder.ts';
import { RuleLog } from './rule-log.ts';
import type { Slot } from './slots.ts';
import { bundleSet, revocationSet, type Upstream } from './states.ts';
import { changesOf } from './step-changes.ts';

/** Makes CRLs (DER) by the key IDs of the authorities, with a number. */
type MakeCrls = (
  list: readonly Revocation[],
  slots: readonly Slot[],
  number: number,
) => Promise<ReadonlyMap<string, Buffer>>;

/** Most steps of others that one step gives way to, before it is for its caller to try again. */
const MAX_TRIES = 20;

/** What changes with one step; what is absent stays. Whole lists, not differences. */
export interface Step {
  readonly slots?: readonly Slot[];
  readonly rules?: { readonly changed: readonly CompiledRule[]; readonly removed: readonly string[] };
  readonly foreign?: ReadonlyMap<string, Bundle>;
  /** What the parent says. */
  readonly upstream?: Upstream;
  /** What others say that are not above. */
  readonly abroad?: Abroad;
  /** Which child has published the bundle of a trust domain; `changes` hold what is new of it. */
  readonly owners?: ReadonlyMap<string, string>;
  /** What child authorities have revoked, by their agent IDs. */
  readonly below?: ReadonlyMap<string, BelowRevocations>;
  readonly revocations?: { readonly list: readonly Revocation[]; readonly crls: ReadonlyMap<string, Buffer> };
  /** What else is stored in the same transaction. */
  readonly changes?: readonly Change[];
}

/**
 * The single writer of what a trust domain's control plane knows: authorities, rules, bundles, revocations. A step is
 * stored with its audit entry first, then shown to readers, who get complete states. Steps never overlap, also not with
 * those of other control planes of the same state: each expects the state that it was planned on, and is planned anew on
 * what another one has made of it.
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
  #owners: ReadonlyMap<string, string>;
  #unreadable: ReadonlyMap<string, string>;
  /** Version of the document that every step changes. */
  #step: number;
  /** What became of the last step is not known. */
  #isUnsure = false;
  readonly #read: ((known: RegistryState) => Promise<RegistryState>) | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** Makes the lists of the own authorities with this number; set by what has their keys. */
  makeCrls: MakeCrls = async () => new Map();

  /** What another control plane has done was taken over; the authorities before that. */
  onFollowed: (before: readonly Slot[]) => void = () => {};

  /** What went wrong where nobody waits for it. */
  onFault: (error: unknown) => void = () => {};

  /** `read` reads what the store holds now. */
  constructor(
    loaded: Loaded,
    recorder: Recorder,
    timers: Timers,
    read?: (known: RegistryState) => Promise<RegistryState>,
  ) {
    this.#timers = timers;
    this.#read = read;
    this.#step = loaded.step;
    this.#owners = loaded.owners;
    this.#unreadable = loaded.unreadable;
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

  /** Which child has published the bundle of a trust domain. */
  get owners(): ReadonlyMap<string, string> {
    return this.#owners;
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
   * something did, once it is stored and shown. Throws `unavailable` where the store takes too long: a step that has begun then
   * goes on, since what is stored and what is shown must be the same. `plan` is asked again where another control
   * plane has taken a step meanwhile.
   */
  step(plan: () => Promise<{ step: Step; entry: NewAuditEntry } | undefined>): Promise<boolean> {
    return inTime(
      (step) => this.#inTurn(step),
      () => this.#tryTo(plan),
      this.#timers,
    );
  }

  /** Takes over what other control planes of the same state have changed. */
  follow(): Promise<void> {
    return this.#inTurn(() => this.#catchUp());
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(run, run);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #tryTo(plan: () => Promise<{ step: Step; entry: NewAuditEntry } | undefined>): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      if (this.#isUnsure) await this.#catchUp();
      const planned = await plan();
      if (planned === undefined) return false;
      try {
        await this.#take(planned.step, planned.entry);
        return true;
      } catch (error) {
        const isConflict = isInterlockError(error) && error.code === 'conflict';
        this.#isUnsure = !isConflict;
        const before = this.#step;
        if (!isConflict || this.#read === undefined || tries === MAX_TRIES) throw error;
        await this.#catchUp();
        // It is not that somebody else took a step: it is what the step itself expected.
        if (this.#step === before) throw error;
      }
    }
  }

  async #catchUp(): Promise<void> {
    const read = await this.#read?.(this.#state());
    if (read !== undefined && read.step !== this.#step) await this.#show(read);
    this.#isUnsure = false;
  }

  #state(): RegistryState {
    return {
      step: this.#step,
      slots: this.slots.current.value,
      rules: this.rules.current.value,
      unreadable: this.#unreadable,
      foreign: this.#foreign,
      owners: this.#owners,
      revocations: this.#revoked,
      upstream: this.#upstream,
      abroad: this.#abroad,
      below: this.#below,
      versions: this.#versions,
    };
  }

  /** Shows what was read, in the order in which a step is shown. */
  async #show(read: RegistryState): Promise<void> {
    const { slots, foreign, upstream, abroad, below, versions, revocations: list } = read;
    const before = this.#versions;
    const isNew = (part: keyof Versions) => versions[part] !== before[part];
    const set = bundleSet(this.domain, slots, foreign, upstream, abroad, versions.bundles);
    const crls = isNew('revocations') ? await this.#crlsOf(read) : this.#crls;
    const changed = isNew('rules') ? changedRules(this.rules.current.value, read.rules) : [];
    this.#step = read.step;
    this.#versions = versions;
    this.#foreign = foreign;
    this.#owners = read.owners;
    this.#upstream = upstream;
    this.#abroad = abroad;
    this.#below = below;
    this.#revoked = list;
    this.#crls = crls;
    this.#unreadable = read.unreadable;
    const slotsBefore = this.slots.current.value;
    if (isNew('bundles')) {
      this.slots.publish(slots);
      this.bundles.publish(set, versions.bundles);
    }
    if (isNew('revocations'))
      this.revocations.publish(revocationSet(list, crls, upstream, abroad, below), versions.revocations);
    if (isNew('rules')) {
      // Of several steps at once it is known only what all of them have changed.
      for (let version = before.rules + 1; version <= versions.rules; version++)
        this.#ruleLog.add(version, changed);
      this.rules.publish(read.rules, versions.rules);
    }
    if (isNew('bundles')) this.onFollowed(slotsBefore);
  }

  /** An authority whose key cannot be used keeps nothing else from being followed: its list is an old one then. */
  async #crlsOf({ revocations, slots, versions }: RegistryState): Promise<ReadonlyMap<string, Buffer>> {
    try {
      return await this.makeCrls(revocations, slots, versions.revocations);
    } catch (error) {
      if (!isInterlockError(error) || error.code === 'unavailable') throw error;
      this.onFault(error);
      return this.#crls;
    }
  }

  /** Makes the lists of a state that was just opened, with the number that they have where others serve it already. */
  async remakeCrls(): Promise<void> {
    const { revocations } = this.#versions;
    this.#crls = await this.#crlsOf(this.#state());
    this.revocations.publish(
      revocationSet(this.#revoked, this.#crls, this.#upstream, this.#abroad, this.#below),
      revocations,
    );
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
    await this.#recorder.record(
      [...changesOf(step, this.#state()), ...versionChange(versions, this.#step)],
      entry,
    );
    this.#step++;
    this.#versions = versions;
    this.#owners = step.owners ?? this.#owners;
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
}

const isGiven = (part: unknown) => part !== undefined;

function versionChange({ rules, bundles, revocations }: Versions, expect: number): Change[] {
  const data = { rules, bundles, revocations };
  return [{ change: 'put', kind: 'setting', name: VERSIONS_SETTING, data, expect }];
}

/** Names of the rules that differ. */
function changedRules(before: RuleSet, after: RuleSet): string[] {
  const changed = after.rules.filter((rule) => before.get(rule.name) !== rule);
  const removed = before.rules.filter(({ name }) => after.get(name) === undefined);
  return [...changed, ...removed].map(({ name }) => name);
}
