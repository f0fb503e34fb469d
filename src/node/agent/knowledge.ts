import { create } from '@bufbuild/protobuf';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import {
  type AgentAttributes,
  type Bundle,
  type CompiledRule,
  compileRule,
  type GivenIdentity,
  identitiesOf,
  parseBundle,
  parseCrl,
  parseIdentityRule,
  readAgentAttributes,
  RuleSet,
  withoutAuthorities,
  type WorkloadAttributes,
} from '../../identity/index.ts';
import {
  type BundleDocument,
  type BundleState,
  type RevocationState,
  RuleStateSchema,
  type RuleState,
} from '../../proto/index.ts';
import type { AgentState } from '../state/agent-state.ts';
import type { TrustState } from '../workloads/workload-book.ts';

/** What could not be used of what the control plane sent, and why. */
export type OnUnusable = (what: string, error: unknown) => void;

const NOTHING: TrustState = {
  version: 0n,
  trustDomain: '',
  bundles: new Map(),
  crls: [],
  targets: [],
  local: undefined,
};

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
  /** Authority and serial number of each revoked certificate. */
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

  /**
   * True for a revoked certificate, by its authority's key ID and its serial number, both in lower-case hex. A serial
   * number alone says nothing: the lists are of several authorities, and each names what it has issued itself.
   */
  isRevokedSerial(authority: string, serial: string): boolean {
    return this.#revokedSerials.has(`${authority} ${serial}`);
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
    for (const name of removed) this.#documents.delete(name);
    const { compiled, unusable } = this.#compiled(rules);
    this.#rules = (complete ? new RuleSet([]) : this.#rules).with(compiled, [...removed, ...unusable]);
    this.#rulesVersion = version;
  }

  /** The rules of these documents, and the names of those that give nothing, whatever they gave before. */
  #compiled(documents: Iterable<Uint8Array>): { compiled: CompiledRule[]; unusable: string[] } {
    const compiled: CompiledRule[] = [];
    const unusable: string[] = [];
    for (const json of documents) {
      let name: string | undefined;
      try {
        const rule = parseIdentityRule(json);
        name = rule.metadata.name;
        // Kept even where the next line refuses it: for another trust domain it may be a good one.
        this.#documents.set(name, json);
        compiled.push(compileRule(rule, this.#trust.trustDomain));
      } catch (error) {
        // A rule of a newer control plane, say. The others hold.
        const refused = name ?? (error instanceof InterlockError ? error.subject : undefined);
        if (refused !== undefined) unusable.push(refused);
        if (refused !== undefined && name === undefined) this.#documents.delete(refused);
        this.#onUnusable('a registration rule', error);
      }
    }
    return { compiled, unusable };
  }

  #setBundles({ version, trustDomain, bundles, targets, regions }: BundleState): void {
    const moved = trustDomain !== this.#trust.trustDomain;
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
    const own = known.get(trustDomain);
    this.#trust = {
      ...this.#trust,
      version: this.#trust.version + 1n,
      trustDomain,
      bundles: known,
      // One without a bundle would give workloads an identity that they cannot show to be good.
      targets: targets.filter((domain) => domain !== trustDomain && known.has(domain)),
      local: own && withoutAuthorities(own, this.#regionsOf(trustDomain, regions)),
    };
    this.#bundlesVersion = version;
    // A rule is compiled for one trust domain: its IDs are of that one.
    if (moved) this.#rules = new RuleSet(this.#compiled([...this.#documents.values()]).compiled);
  }

  #regionsOf(trustDomain: string, document: BundleDocument | undefined): Bundle | undefined {
    try {
      return document && parseBundle(document.jwks, trustDomain);
    } catch (error) {
      this.#onUnusable('the bundle of the other regions', error);
      return undefined;
    }
  }

  #setRevocations({ version, crls, spiffeIds }: RevocationState): void {
    const serials = new Set<string>();
    const usable: Buffer[] = [];
    for (const der of crls) {
      try {
        const bytes = Buffer.from(der);
        const { authorityKeyId, revoked } = parseCrl(bytes);
        for (const serial of revoked.keys()) serials.add(`${authorityKeyId} ${serial}`);
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
