import { InterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import {
  type AgentAttributes,
  attestedAgent,
  attestorNamed,
  type NodeAttestor,
  readAgentAttributes,
} from '../../identity/index.ts';
import type { AgentRecord, IdentityStore, Json } from '../../store/index.ts';
import type { AttestRequest, SignedCertificate } from '../agents/desk.ts';
import type { Timers } from '../timers.ts';
import { AttestGate } from './guessed.ts';
import type { Issuing } from './issuing.ts';
import type { Actor, Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';
import type { Revoking } from './revoking.ts';

/**
 * Life of an agent's own SVID, in milliseconds. Longer than the workloads': an agent that was kept from the control
 * plane for a night comes back without being attested anew, which a join token could not do.
 */
export const AGENT_TTL_MS = 24 * 3_600_000;

export interface AgentsOptions {
  readonly registry: Registry;
  readonly recorder: Recorder;
  readonly store: Pick<IdentityStore, 'agents'>;
  readonly issuing: Issuing;
  readonly revoking: Revoking;
  readonly timers: Timers;
  readonly attestors: ReadonlyMap<string, NodeAttestor>;
  /** The agent is known no more: what else it said is forgotten as well. */
  readonly onForgotten: (id: SpiffeId) => Promise<void>;
  /** Ends the connections of an agent. */
  readonly disconnect: (id: SpiffeId, error: InterlockError) => void;
}

interface Known {
  readonly record: AgentRecord;
  readonly attributes: AgentAttributes;
}

/** The node agents: who they are, and how they become it. */
export class Agents {
  readonly #options: AgentsOptions;
  readonly #gate: AttestGate;
  readonly #known = new Map<string, Known>();
  readonly #fresh = new Set<string>();
  /** Of reads that are under way: who was changed here meanwhile. */
  readonly #changed = new Set<Set<string>>();

  constructor(options: AgentsOptions, records: readonly AgentRecord[]) {
    this.#options = options;
    this.#gate = new AttestGate(options.timers);
    for (const record of records) this.#known.set(record.id, { record, attributes: attributesOf(record) });
  }

  list(): AgentRecord[] {
    return [...this.#known.values()].map(({ record }) => record);
  }

  /** The agent of this ID. Throws `forbidden` for one that is unknown, evicted or has ended. */
  agentOf(id: SpiffeId): AgentAttributes {
    const known = this.#known.get(id);
    if (known === undefined) {
      throw new InterlockError(
        'forbidden',
        id,
        `${id} is not an agent of this control plane: attest it anew`,
      );
    }
    if (known.record.banned) throw evicted(id);
    return known.attributes;
  }

  /** Whether the agent is known here; another control plane may have attested it a moment ago. */
  knows(id: SpiffeId): boolean {
    return this.#known.has(id);
  }

  /** Takes over what another control plane knows of these agents, or of all: new ones, and those that may act no more. */
  async follow(ids?: readonly string[]): Promise<void> {
    const { recorder, store } = this.#options;
    const changedHere = new Set<string>();
    this.#changed.add(changedHere);
    let records: readonly AgentRecord[];
    try {
      records = await recorder.within(store.agents(ids));
    } finally {
      this.#changed.delete(changedHere);
    }
    const found = new Set(records.map(({ id }) => id));
    for (const record of records) if (!changedHere.has(record.id)) this.#take(record);
    for (const id of ids ?? [...this.#known.keys()]) {
      if (!found.has(id) && !changedHere.has(id) && this.#known.delete(id))
        this.#options.disconnect(parseSpiffeId(id), unknown(id));
    }
    if (changedHere.size > 0) await this.follow([...changedHere]);
  }

  #take(record: AgentRecord): void {
    const { id } = record;
    const before = this.#known.get(id)?.record;
    // It may be something else now than when it last had all rules.
    if (before?.attestedAt !== record.attestedAt) this.#fresh.add(id);
    this.#known.set(id, { record, attributes: attributesOf(record) });
    if (record.banned && before?.banned !== true) this.#options.disconnect(parseSpiffeId(id), evicted(id));
  }

  #set(id: string, known: Known | undefined): void {
    if (known === undefined) this.#known.delete(id);
    else this.#known.set(id, known);
    for (const changed of this.#changed) changed.add(id);
  }

  /** Whether the agent was attested since this was last asked. */
  takeFresh(id: SpiffeId): boolean {
    return this.#fresh.delete(id);
  }

  /** Judges a node's evidence and gives the agent its SVID. Throws what is wrong with the evidence. */
  attest(request: AttestRequest): Promise<SignedCertificate> {
    return this.#gate.tried(request.address, request.attestor, () => this.#attest(request));
  }

  async #attest({ attestor: name, payload, csr, challenge }: AttestRequest): Promise<SignedCertificate> {
    const { registry, issuing, timers, attestors } = this.#options;
    const { trustDomain, prefixes } = registry.domain;
    const attestor = attestorNamed(attestors, name);
    // Before the evidence is looked at: a join token is used up by that, and a request that is no good must not cost it.
    await issuing.assertIssuable(csr);
    const attested = await attestor.attest(payload, { trustDomain, now: timers.now(), csr, challenge });
    const agent = attestedAgent(trustDomain, attestor.name, attested, prefixes?.[0]);
    const { id } = agent.agent;
    if (this.#known.get(id)?.record.banned === true) throw evicted(id);
    const signed = await this.#issue(agent, csr, id, 'agent.attest', timers.now());
    this.#fresh.add(id);
    return signed;
  }

  /** A new SVID for an agent that still has one. */
  async renew(agent: AgentAttributes, csr: Uint8Array): Promise<SignedCertificate> {
    const { id } = agent.agent;
    const record = this.#known.get(id)?.record;
    return this.#issue(this.agentOf(id), csr, id, 'agent.renew', record?.attestedAt ?? 0, record?.serial);
  }

  /** Lets an agent act no more: its SVID and those it got for workloads are revoked. Gives their number. */
  async evict(who: Actor, id: SpiffeId, reason: string): Promise<number> {
    const known = this.#known.get(id);
    if (known === undefined) throw unknown(id);
    const record = { ...known.record, banned: true };
    // From here on nothing is issued to it.
    this.#set(id, { ...known, record });
    const count = await this.#options.revoking.revokeAgent(who, id, reason, [
      { change: 'agent', agent: record },
    ]);
    this.#options.disconnect(id, evicted(id));
    return count;
  }

  /** Forgets an agent that was evicted, so that its node may be attested again. Throws `not_found`. */
  async forget(who: Actor, id: SpiffeId): Promise<void> {
    const { recorder } = this.#options;
    if (!this.#known.has(id)) throw unknown(id);
    await recorder.commit([{ change: 'forget-agent', id }], recorder.entry(who, 'agent.forget', id));
    this.#set(id, undefined);
    this.#options.disconnect(id, unknown(id));
    await this.#options.onForgotten(id);
  }

  async #issue(
    agent: AgentAttributes,
    csr: Uint8Array,
    id: SpiffeId,
    act: string,
    attestedAt: number,
    replaces?: string,
  ): Promise<SignedCertificate> {
    const { issuing, recorder, timers } = this.#options;
    const now = timers.now();
    const left = (agent.endsAt ?? Number.POSITIVE_INFINITY) - now;
    if (left <= 0)
      throw new InterlockError('untrusted', id, `the identity of ${id} has ended: attest it anew`);
    let record: AgentRecord | undefined;
    const signed = await issuing.leaf({
      kind: 'agent',
      spiffeId: id,
      csr,
      ttl: Math.min(AGENT_TTL_MS, left),
      agent: id,
      rule: '',
      replaces,
      also: ({ serial, notAfter }) => {
        record = {
          id,
          attestor: agent.agent.attestor,
          // Attributes are JSON data without null.
          attributes: agent as unknown as Json,
          serial,
          notAfter,
          attestedAt,
          banned: false,
        };
        return [{ change: 'agent', agent: record }];
      },
      entry: ({ serial }) => recorder.entry(id, act, id, { serial, attestor: agent.agent.attestor }),
    });
    if (this.#known.get(id)?.record.banned === true) throw evicted(id);
    if (record !== undefined) this.#set(id, { record, attributes: agent });
    return signed;
  }
}

function attributesOf(record: AgentRecord): AgentAttributes {
  try {
    return readAgentAttributes(Buffer.from(JSON.stringify(record.attributes)));
  } catch {
    // Written by another version: the agent keeps its name, and loses what rules could ask about it.
    return { agent: { id: parseSpiffeId(record.id), attestor: record.attestor }, selectors: [], claims: {} };
  }
}

function evicted(id: string): InterlockError {
  return new InterlockError(
    'forbidden',
    id,
    `the agent ${id} was evicted: an operator has to forget it first`,
  );
}

function unknown(id: string): InterlockError {
  return new InterlockError('not_found', id, `there is no agent ${id}`);
}
