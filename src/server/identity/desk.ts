import type { SpiffeId } from '../../access/index.ts';
import type { AgentAttributes, RuleSet } from '../../identity/index.ts';
import type {
  AgentDesk,
  AttestRequest,
  BelowRevocations,
  BundleSet,
  ChildTokenRequest,
  RevocationSet,
  SignedCertificate,
  SignedToken,
  WorkloadRequest,
} from '../agents/desk.ts';
import type { IdentityStore } from '../../store/index.ts';
import type { Feed } from '../feed.ts';
import type { Timers } from '../timers.ts';
import type { Agents } from './agents.ts';
import type { Children } from './children.ts';
import type { Issuing } from './issuing.ts';
import type { Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';

/** Serials that one page of the list of what was issued holds. */
const PAGE = 5000;

export interface DeskParts {
  readonly store: IdentityStore;
  readonly registry: Registry;
  readonly issuing: Issuing;
  readonly agents: Agents;
  readonly children: Children;
  readonly recorder: Recorder;
  readonly timers: Timers;
  /** Other control planes may have the same state open. */
  readonly isShared?: boolean;
}

/** What agents may ask of the control plane. An agent that is evicted while it asks gets nothing. */
export class IdentityDesk implements AgentDesk {
  readonly trustDomain: string;
  readonly rules: Feed<RuleSet>;
  readonly bundles: Feed<BundleSet>;
  readonly revocations: Feed<RevocationSet>;
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    const { registry } = parts;
    this.trustDomain = registry.domain.trustDomain;
    this.rules = registry.rules;
    this.bundles = registry.bundles;
    this.revocations = registry.revocations;
    this.#parts = parts;
  }

  ruleNamesSince(version: number): ReadonlySet<string> | undefined {
    return this.#parts.registry.ruleNamesSince(version);
  }

  tainted(): readonly string[] {
    return this.#parts.registry.slots.current.value
      .filter(({ taintedAt, revokedAt }) => taintedAt !== undefined && revokedAt === undefined)
      .map(({ id }) => id);
  }

  takeFresh(id: SpiffeId): boolean {
    return this.#parts.agents.takeFresh(id);
  }

  async meet(id: SpiffeId): Promise<void> {
    const { agents } = this.#parts;
    if (!agents.knows(id)) await agents.follow([id]);
  }

  knows(id: SpiffeId): boolean {
    const { agents, isShared } = this.#parts;
    // Of another one's making are only agents of a state that is shared: nobody else costs a question.
    return isShared !== true || !id.includes('/interlock/agent/') || agents.knows(id);
  }

  agentOf(id: SpiffeId): AgentAttributes {
    return this.#parts.agents.agentOf(id);
  }

  attest(request: AttestRequest): Promise<SignedCertificate> {
    return this.#parts.agents.attest(request);
  }

  signX509(
    agent: AgentAttributes,
    request: WorkloadRequest,
    csr: Uint8Array,
    replaces: string | undefined,
  ): Promise<SignedCertificate> {
    return this.#asAgent(agent, () => this.#parts.issuing.workload(agent, request, csr, replaces));
  }

  signJwt(
    agent: AgentAttributes,
    request: WorkloadRequest,
    audience: readonly string[],
  ): Promise<SignedToken> {
    return this.#asAgent(agent, () => this.#parts.issuing.token(agent, request, audience));
  }

  renew(agent: AgentAttributes, csr: Uint8Array): Promise<SignedCertificate> {
    return this.#asAgent(agent, () => this.#parts.agents.renew(agent, csr));
  }

  async dropped(agent: AgentAttributes, serials: readonly string[]): Promise<void> {
    const { recorder, timers } = this.#parts;
    if (serials.length === 0) return;
    await recorder.commit([{ change: 'drop', agent: agent.agent.id, serials, at: timers.now() }]);
  }

  async holds(agent: AgentAttributes, serials: ReadonlySet<string>, at: number): Promise<void> {
    const { store, recorder, timers } = this.#parts;
    const filter = { agent: agent.agent.id, kind: 'workload', liveAt: timers.now(), limit: PAGE } as const;
    const lost: string[] = [];
    for (let after = ''; ; ) {
      const page = await recorder.within(store.issued({ ...filter, after }));
      const gone = page.filter(({ serial, issuedAt }) => issuedAt < at && !serials.has(serial));
      lost.push(...gone.map(({ serial }) => serial));
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      after = last.serial;
    }
    await this.dropped(agent, lost);
  }

  signAuthority(agent: AgentAttributes, csr: Uint8Array, ttlMs: number): Promise<SignedCertificate> {
    return this.#asAgent(agent, () => this.#parts.children.sign(agent, csr, ttlMs));
  }

  publishBundle(agent: AgentAttributes, trustDomain: string, document: Uint8Array): Promise<number> {
    return this.#asAgent(agent, () => this.#parts.children.publish(agent, trustDomain, document));
  }

  signChildJwt(agent: AgentAttributes, request: ChildTokenRequest): Promise<SignedToken> {
    return this.#asAgent(agent, () => this.#parts.children.signJwt(agent, request));
  }

  publishRevocations(agent: AgentAttributes, revocations: BelowRevocations): Promise<number> {
    return this.#asAgent(agent, () => this.#parts.children.publishRevocations(agent, revocations));
  }

  async #asAgent<T>(agent: AgentAttributes, work: () => Promise<T>): Promise<T> {
    this.agentOf(agent.agent.id);
    const done = await work();
    this.agentOf(agent.agent.id);
    return done;
  }
}
