import type { SpiffeId } from '../../access/index.ts';
import type { AgentAttributes, Bundle, RuleSet } from '../../identity/index.ts';
import type { Feed } from '../feed.ts';

/** The bundles that agents get: the own trust domain's, and those it federates with. */
export interface BundleSet {
  readonly bundles: ReadonlyMap<string, Bundle>;
  /** Their documents, ready to be sent, by trust domain. */
  readonly documents: ReadonlyMap<string, Buffer>;
  /** The own trust domain's, without what other regions of it have added: by it this control plane and its agents are known. */
  readonly local: Bundle;
  /** The document of what other regions have added. */
  readonly regions: Buffer | undefined;
  /** Trust domains to which a cutover moves identities. */
  readonly targets: readonly string[];
}

/** What is revoked and has not expired. */
export interface RevocationSet {
  /** DER, by the key ID of their authority. */
  readonly crls: ReadonlyMap<string, Buffer>;
  readonly spiffeIds: ReadonlySet<string>;
  /** Serials in hex. */
  readonly serials: ReadonlySet<string>;
  /** By the ID of a child authority that has revoked something: the lists and IDs without its own, which it knows. */
  readonly forChild: ReadonlyMap<
    string,
    { readonly crls: readonly Buffer[]; readonly spiffeIds: readonly string[] }
  >;
}

/** A certificate that was issued: DER, leaf first, without the root. */
export interface SignedCertificate {
  readonly chain: readonly Buffer[];
  readonly serial: string;
  /** Key ID of the authority that signed. */
  readonly authority: string;
  readonly spiffeId: SpiffeId;
  /** Milliseconds since 1970 UTC. */
  readonly notAfter: number;
}

/** A JWT-SVID that was issued. Times are milliseconds since 1970 UTC. */
export interface SignedToken {
  readonly token: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Key ID of the authority that signed. */
  readonly authority: string;
}

/** A JWT-SVID that a child authority asks for one of its workloads. */
export interface ChildTokenRequest {
  readonly spiffeId: string;
  readonly audience: readonly string[];
  /** Milliseconds. */
  readonly ttl: number;
}

/** What a child authority, and those below it, have revoked: complete. */
export interface BelowRevocations {
  readonly authorities: readonly AuthorityRevocations[];
  readonly spiffeIds: readonly string[];
}

/** The list of one authority, DER: with its certificate, and those above it that this control plane does not have. */
export interface AuthorityRevocations {
  readonly chain: readonly Buffer[];
  readonly crl: Buffer;
}

/** What an agent asks for one of its workloads. */
export interface WorkloadRequest {
  readonly spiffeId: string;
  readonly rule: string;
  /** JSON of the workload's attributes. */
  readonly attributes: Uint8Array;
  /** The agent takes IDs of the trust domains to which a cutover moves them. */
  readonly takesTargets?: boolean | undefined;
}

/** Evidence of a node that wants to become an agent. */
export interface AttestRequest {
  readonly attestor: string;
  readonly payload: Uint8Array;
  readonly csr: Uint8Array;
  /** Where the caller is, for the log. */
  readonly address: string;
  /** Sends a challenge and gives the answer to it. */
  readonly challenge: (challenge: Uint8Array) => Promise<Buffer>;
}

/** An agent is to replace the SVIDs of an authority, spread over a time. */
export interface Replacement {
  /** Key ID. */
  readonly authority: string;
  readonly overMs: number;
}

/** What the agents' gRPC service works with. Everything throws InterlockError. */
export interface AgentDesk {
  readonly trustDomain: string;
  readonly rules: Feed<RuleSet>;
  readonly bundles: Feed<BundleSet>;
  readonly revocations: Feed<RevocationSet>;
  /** Names of the rules that changed or went after a version; undefined where that is too long ago. */
  ruleNamesSince(version: number): ReadonlySet<string> | undefined;
  /** Whether the agent was attested since it last got all rules: what it is may have changed. Asked once. */
  takeFresh(id: SpiffeId): boolean;
  /** Key IDs of authorities that are relied on no more and still trusted. */
  tainted(): readonly string[];
  /** False where another control plane may know the agent, which `meet` finds out. Throws `unavailable`. */
  knows(id: SpiffeId): boolean;
  meet(id: SpiffeId): Promise<void>;
  /** The agent of this ID, if it may act: attested, not evicted, not revoked. Throws `forbidden`. */
  agentOf(id: SpiffeId): AgentAttributes;
  attest(request: AttestRequest): Promise<SignedCertificate>;
  signX509(
    agent: AgentAttributes,
    request: WorkloadRequest,
    csr: Uint8Array,
    replaces: string | undefined,
  ): Promise<SignedCertificate>;
  signJwt(
    agent: AgentAttributes,
    request: WorkloadRequest,
    audience: readonly string[],
  ): Promise<SignedToken>;
  renew(agent: AgentAttributes, csr: Uint8Array): Promise<SignedCertificate>;
  dropped(agent: AgentAttributes, serials: readonly string[]): Promise<void>;
  /** These are all that the agent held for workloads at a time: what was signed for it before, beside them, was lost on the way. */
  holds(agent: AgentAttributes, serials: ReadonlySet<string>, at: number): Promise<void>;
  signAuthority(agent: AgentAttributes, csr: Uint8Array, ttlMs: number): Promise<SignedCertificate>;
  /** Takes the bundle of a child's own trust domain; the version of the bundles that hold it. */
  publishBundle(agent: AgentAttributes, trustDomain: string, document: Uint8Array): Promise<number>;
  /** A JWT-SVID for a workload of a child authority that is limited to prefixes. */
  signChildJwt(agent: AgentAttributes, request: ChildTokenRequest): Promise<SignedToken>;
  /** Takes what a child authority has revoked; the number of lists and IDs that are not its to revoke. */
  publishRevocations(agent: AgentAttributes, revocations: BelowRevocations): Promise<number>;
}
