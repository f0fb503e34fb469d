import type { SpiffeId } from '../../access/index.ts';
import type { AgentAttributes, RuleSet } from '../../identity/index.ts';
import type {
  AgentDesk,
  AttestRequest,
  BundleSet,
  RevocationSet,
  SignedCertificate,
  SignedToken,
  WorkloadRequest,
} from '../agents/desk.ts';
import type { Feed } from '../feed.ts';
import type { Timers } from '../timers.ts';
import type { Agents } from './agents.ts';
import type { Children } from './children.ts';
import type { Issuing } from './issuing.ts';
import type { Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';

export interface DeskParts {
  readonly registry: Registry;
  readonly issuing: Issuing;
  readonly agents: Agents;
  readonly children: Children;
  readonly recorder: Recorder;
  readonly timers: Timers;
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

  signAuthority(agent: AgentAttributes, csr: Uint8Array, ttlMs: number): Promise<SignedCertificate> {
    return this.#asAgent(agent, () => this.#parts.children.sign(agent, csr, ttlMs));
  }

  publishBundle(agent: AgentAttributes, trustDomain: string, document: Uint8Array): Promise<number> {
    return this.#asAgent(agent, () => this.#parts.children.publish(agent, trustDomain, document));
  }

  async #asAgent<T>(agent: AgentAttributes, work: () => Promise<T>): Promise<T> {
    this.agentOf(agent.agent.id);
    const done = await work();
    this.agentOf(agent.agent.id);
    return done;
  }
}
