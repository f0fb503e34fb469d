import { create } from '@bufbuild/protobuf';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import {
  type AgentAttributes,
  type Bundle,
  compileRule,
  type GivenIdentity,
  identitiesOf,
  parseBundle,
  parseCrl,
  parseIdentityRule,
  readAgentAttributes,
  RuleSet,
  type WorkloadAttributes,
} from '../../identity/index.ts';
import {
  type BundleState,
  type RevocationState,
  RuleStateSchema,
  type RuleState,
} from '../../proto/index.ts';
import type { AgentState } from '../state/agent-state.ts';
import type { TrustState } from '../workloads/workload-book.ts';

/** What could not be used of what the control plane sent, and why. */
export type OnUnusable = (what: string, error: unknown) => void;

const NOTHING: TrustState = { version: 0n, trustDomain: '', bundles: new Map(), crls: [] };

/** What the control plane has told: rules, bundles and revocations, kept on disk for the next start. */
export class Knowledge {
  readonly #state: AgentState;
  readonly #onUnusable: OnUnusable;
  readonly #later: (save: () => void) => void;
  #rulesUnsaved = false;
  /** Some rules are on disk. */
  #rulesKept = false;
  /** JSON of each rule, by name: what is written to disk. */
  readonly #documents = new Map<string, Uint8Array>();
  #rules = new RuleSet([]);
  #agent: AgentAttributes | undefined;
  #agentJson: Uint8Array = new Uint8Array();
  #rulesVersion = 0n;
  #trust = NOTHING;
  #bundlesVersion = 0n;
  #revokedIds: ReadonlySet<string> = new Set();
  #revokedSerials: ReadonlySet<string> = new Set();
  #revocationsVersion = 0n;

  /**
   * Starts from what is on disk. `later` says when changed rules are written, all at once: workloads do not wait for
   * the disk, and a hundred new rules are one write. At once where it is absent.
   */
  constructor(
    state: AgentState,
    onUnusable: OnUnusable,
    later: (save: () => void) => void = (save) => save(),
  ) {
    this.#state = state;
    this.#onUnusable = onUnusable;
    this.#later = later;
    const bundles = state.bundles();
    if (bundles !== undefined) this.#setBundles(bundles);
    const rules = state.rules();
    // Without the trust domain that they are for they mean nothing: they are asked for anew.
    if (rules !== undefined && bundles !== undefined) {
      this.#setRules(rules);
      this.#rulesKept = true;
    }
    const revocations = state.revocations();
    if (revocations !== undefined) this.#setRevocations(revocations);
  }

  get rulesVersion(): bigint {
    return this.#rulesVersion;
  }

  get bundlesVersion(): bigint {
    return this.#bundlesVersion;
  }

  get revocationsVersion(): bigint {
    return this.#revocationsVersion;
  }

  /** What is trusted now. */
  trust(): TrustState {
    return this.#trust;
  }

  /** The identities that the rules give to a workload of this node. */
  identitiesOf(attributes: WorkloadAttributes): readonly GivenIdentity[] {
    return this.#agent === undefined ? [] : identitiesOf(this.#rules, attributes, this.#agent);
  }

  /** True for an ID that gets nothing. */
  isRevoked(id: SpiffeId): boolean {
    return this.#revokedIds.has(id);
  }

  /** True for the serial number (lower-case hex) of a revoked certificate. */
  isRevokedSerial(serial: string): boolean {
    return this.#revokedSerials.has(serial);
  }

  /**
   * Takes rules over: all of them, or what changed. An agent that ends before they are written has an older version,
   * and is sent what it lacks.
   */
  takeRules(state: RuleState): void {
    this.#setRules(state);
    if (this.#rulesUnsaved) return;
    this.#rulesUnsaved = true;
    // The first ones at once: without any, an agent that is killed before its control plane returns serves nobody.
    if (this.#rulesKept) this.#later(() => this.flush());
    else this.flush();
  }

  /** Writes what is not written yet. */
  flush(): void {
    if (!this.#rulesUnsaved) return;
    this.#rulesUnsaved = false;
    const { rulesVersion: version } = this;
    const whole = { version, complete: true, rules: [...this.#documents.values()], agent: this.#agentJson };
    this.#keep('rules', () => {
      this.#state.saveRules(create(RuleStateSchema, whole));
      this.#rulesKept = true;
    });
  }

  /** Takes bundles over. Those of a domain that cannot be read stay as they were. */
  takeBundles(state: BundleState): void {
    this.#setBundles(state);
    this.#keep('bundles', () => this.#state.saveBundles(state));
  }

  /** Takes over what is revoked. */
  takeRevocations(state: RevocationState): void {
    this.#setRevocations(state);
    this.#keep('revocations', () => this.#state.saveRevocations(state));
  }

  #setRules({ version, complete, rules, removed, agent }: RuleState): void {
    if (agent.length > 0) {
      try {
        this.#agent = readAgentAttributes(agent);
        this.#agentJson = agent;
      } catch (error) {
        this.#onUnusable("the agent's own attributes", error);
      }
    }
    if (complete) this.#documents.clear();
    const changed = [];
    const gone = [...removed];
    for (const json of rules) {
      try {
        const rule = parseIdentityRule(json);
        changed.push(compileRule(rule, this.#trust.trustDomain));
        this.#documents.set(rule.metadata.name, json);
      } catch (error) {
        // A rule of a newer control plane, say. The others hold; this one gives nothing, whatever it gave before.
        if (error instanceof InterlockError) gone.push(error.subject);
        this.#onUnusable('a registration rule', error);
      }
    }
    for (const name of gone) this.#documents.delete(name);
    this.#rules = (complete ? new RuleSet([]) : this.#rules).with(changed, gone);
    this.#rulesVersion = version;
  }

  #setBundles({ version, trustDomain, bundles }: BundleState): void {
    const known = new Map<string, Bundle>();
    for (const { trustDomain: domain, jwks } of bundles) {
      try {
        known.set(domain, parseBundle(jwks, domain));
      } catch (error) {
        this.#onUnusable(`the bundle of ${domain}`, error);
        const before = this.#trust.bundles.get(domain);
        if (before !== undefined) known.set(domain, before);
      }
    }
    this.#trust = { ...this.#trust, version: this.#trust.version + 1n, trustDomain, bundles: known };
    this.#bundlesVersion = version;
  }

  #setRevocations({ version, crls, spiffeIds }: RevocationState): void {
    const serials = new Set<string>();
    const usable: Buffer[] = [];
    for (const der of crls) {
      try {
        const bytes = Buffer.from(der);
        for (const serial of parseCrl(bytes).revoked.keys()) serials.add(serial);
        usable.push(bytes);
      } catch (error) {
        this.#onUnusable('a certificate revocation list', error);
      }
    }
    this.#revokedSerials = serials;
    this.#revokedIds = new Set(spiffeIds);
    this.#trust = { ...this.#trust, version: this.#trust.version + 1n, crls: usable };
    this.#revocationsVersion = version;
  }

  /** A full disk costs the next start its memory, and nobody their identity now. */
  #keep(what: string, save: () => void): void {
    try {
      save();
    } catch (error) {
      this.#onUnusable(`${what} on disk`, error);
    }
  }
}
