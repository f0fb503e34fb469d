import type { Action, Outcome, Principal, SpiffeId } from '../access/index.ts';
import type { RequestAttributes, Verdict } from '../policy/index.ts';

/** HOST:PORT, split. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** How the bytes of a port are read: `http` is HTTP/1.1, HTTP/2 and gRPC, told apart by what arrives. */
export const PROTOCOLS = ['http', 'tcp'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** One port of a workload behind this proxy. */
export interface InboundRoute {
  readonly workload: SpiffeId;
  readonly listen: Address;
  /** Where the program of the workload listens. */
  readonly forward: Address;
  /** The port that policies speak of: the program's own. */
  readonly port: number;
  readonly protocol: Protocol;
  /** Whose PROXY headers are believed: CIDRs of peers, SPIFFE IDs of peers. Nobody's where absent. */
  readonly trustProxyHeader?: {
    readonly addresses: readonly string[];
    readonly workloads: readonly SpiffeId[];
  };
  /**
   * How the program takes what came over HTTP/2 and is not gRPC: over HTTP/2 as well, where it is said here, else in
   * HTTP/1.1. gRPC always goes on over HTTP/2, and HTTP/1.1 as it came.
   */
  readonly programSpeaks?: 'h2';
  /**
   * The program speaks before the caller does (MySQL, SMTP, SSH). For Envoy, which judges at the caller's first bytes;
   * this proxy judges before it connects to the program, and needs not know.
   */
  readonly serverFirst?: boolean;
  /** The PROXY header that the program is sent. */
  readonly sendProxyHeader?: 'v1' | 'v2';
}

/** One peer that the workloads behind this proxy call: plain text comes in on loopback, mutual TLS goes out. */
export interface OutboundRoute {
  readonly listen: Address;
  readonly to: Address;
  /** Who must answer: its SPIFFE ID. */
  readonly peer: SpiffeId;
  readonly protocol: Protocol;
  /** The workload that calls; a node proxy asks the kernel whose connection it is. */
  readonly workload?: SpiffeId;
  /** The PROXY header that the peer's proxy is sent inside TLS. */
  readonly sendProxyHeader?: 'v1' | 'v2';
}

/** Who is at the other end of an inbound connection. */
export interface Caller {
  readonly principal: Principal;
  /** The address without its port: that of the PROXY header where the peer is trusted with one. */
  readonly address: string;
  readonly port: number;
  readonly isMutual: boolean;
  /** The group of the TLS handshake, such as `X25519MLKEM768`; absent in plain text. */
  readonly group?: string;
  /** The workload behind the address of a caller without an identity, where the kernel says so; never proof. */
  readonly workload?: SpiffeId;
}

/** What the sets say of one request at this point. */
export interface Judgement {
  /** False only where the set in force is enforced here and denies. */
  readonly allowed: boolean;
  /** Of the set in force; `no-policy` where nothing is enforced. */
  readonly before: Verdict;
  /** Of the complete target set; absent where none is shipped. */
  readonly after?: Verdict;
  /** The version of the target set; absent where none is shipped, or it has none. */
  readonly targetVersion?: number;
}

/** Judges for all workloads of the proxy; the sets are exchanged as a whole, between two requests. */
export interface Judge {
  judge(workload: SpiffeId, caller: Principal, action: Action, attributes?: RequestAttributes): Judgement;
}

/** One access that ended, or was refused. `at` is milliseconds since 1970 UTC. */
export interface ServedAccess {
  readonly workload: SpiffeId;
  readonly caller: Caller;
  readonly action: Action;
  /** Undefined for a caller that was refused before there was anything to judge. */
  readonly judgement: Judgement | undefined;
  readonly outcome: Outcome;
  readonly at: number;
}

/**
 * Why a call of a workload did not reach its peer: it was not the workload that made it, somebody else answered, nobody
 * answered.
 */
export type UnreachedReason = 'owner' | 'untrusted' | 'unreachable';

/** One connection to a peer that did not come about. `at` is milliseconds since 1970 UTC. */
export interface UnreachedCall {
  /** Who called, or in whose name somebody wanted to; absent where the owner is no workload. */
  readonly workload?: SpiffeId;
  readonly peer: SpiffeId;
  readonly to: Address;
  readonly reason: UnreachedReason;
  /** For people. */
  readonly detail: string;
  readonly at: number;
}

/** Takes what was served. Never blocks and never throws: what it has no room for is counted as lost. */
export interface AccessRecorder {
  record(access: ServedAccess): void;
  /** A connection in plain text at a workload that still takes such. */
  plaintext(workload: SpiffeId, caller: Caller, port: number, at: number): void;
  /** A call that did not arrive; what arrives is recorded where it is judged, at the peer. */
  unreached(call: UnreachedCall): void;
}
