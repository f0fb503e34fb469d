import type { SpiffeId } from '../../../access/index.ts';
import type { Enforcement } from '../../../rollout/index.ts';
import type { Loss } from '../../engine.ts';
import type { Protocol } from '../serving.ts';

export type Json = Readonly<Record<string, unknown>>;

/** HOST:PORT, split. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What our own proxy can and Envoy, as it is configured here, cannot: refused where it is asked for. */
interface NotHere {
  /** Another workload than the one that Envoy speaks as. */
  readonly workload?: SpiffeId;
  readonly sendProxyHeader?: 'v1' | 'v2';
}

/** One port of the workload behind Envoy. */
export interface EnvoyInbound extends NotHere {
  /** An IP address: Envoy listens on no name. */
  readonly listen: Address;
  /** Where the program listens: an address, or a name that Envoy resolves. */
  readonly forward: Address;
  /** The port that policies speak of: the program's own. */
  readonly port: number;
  readonly protocol: Protocol;
  /**
   * On a port that is served as HTTP: the program takes HTTP/2 as well, so that what comes over HTTP/2 and is not gRPC
   * goes on over HTTP/2. In HTTP/1.1 where absent.
   */
  readonly programSpeaks?: 'h2';
  /**
   * On a port that is served as TCP: the program speaks before the caller does (MySQL, SMTP, SSH). Envoy judges a
   * connection at its first bytes from the caller: what the program says before, everybody gets who is authenticated.
   * Without this the program is connected to only after the judgement, where a policy is enforced.
   */
  readonly serverFirst?: boolean;
  /**
   * Whose PROXY headers are believed: CIDRs of peers. Nobody else then reaches the port. Envoy reads that header before
   * TLS: workloads cannot be trusted with it, and are told as a loss.
   */
  readonly trustProxyHeader?: {
    readonly addresses: readonly string[];
    readonly workloads?: readonly SpiffeId[];
  };
}

/** One peer that the workload calls: plain text comes in on loopback, mutual TLS goes out. */
export interface EnvoyOutbound extends NotHere {
  /** A loopback address: who reaches it speaks as the workload. */
  readonly listen: Address;
  readonly to: Address;
  /** Who must answer. */
  readonly peer: SpiffeId;
  readonly protocol: Protocol;
}

/** All that one Envoy does for one workload. */
export interface EnvoyWorkload {
  readonly workload: SpiffeId;
  /** Trust domains whose workloads may connect; the workload's own is always among them. */
  readonly trustDomains: readonly string[];
  readonly enforcement: Enforcement;
  /**
   * Names this state of the enforcement; every access that is reported says it. The same for the same enforcement: each
   * other one replaces routes, and the listeners of TCP. Letters, digits, ".", "_", "-".
   */
  readonly version: string;
  readonly inbound: readonly EnvoyInbound[];
  readonly outbound: readonly EnvoyOutbound[];
  /** The cluster that takes access logs. */
  readonly accessLogCluster: string;
}

export type ResourceType = 'listener' | 'route' | 'cluster' | 'endpoint';

/** One xDS resource in its JSON form, with the names of the .proto files. */
export interface EnvoyResource {
  readonly type: ResourceType;
  readonly name: string;
  readonly json: Json;
}

/** The resources of one workload, and how far they say what the policies do. */
export interface EnvoyResources {
  readonly resources: readonly EnvoyResource[];
  readonly losses: {
    /** Of the policies that bite; empty where none do. */
    readonly enforced: readonly Loss[];
    /** Of the complete target set: what a promotion would lose. */
    readonly target: readonly Loss[];
  };
}
