import type { SpiffeId } from '../../access/index.ts';

export const IDENTITY_API_VERSION = 'interlock.dev/v1alpha1';
export const IDENTITY_RULE_KIND = 'IdentityRule';

/** Lives of what is issued where a rule says nothing, and what a rule may say; milliseconds. */
export const DEFAULT_X509_TTL = 3_600_000;
export const DEFAULT_JWT_TTL = 300_000;
export const DEFAULT_DOWNSTREAM_TTL = 30 * 86_400_000;
export const MIN_TTL = 60_000;
export const MAX_X509_TTL = 24 * 3_600_000;
export const MAX_JWT_TTL = 3_600_000;
export const MIN_DOWNSTREAM_TTL = 3_600_000;
export const MAX_DOWNSTREAM_TTL = 366 * 86_400_000;

/** What the kernel says about a process. */
export interface UnixAttributes {
  readonly uid: number;
  readonly gid: number;
  readonly user?: string;
  readonly group?: string;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly path?: string;
  /** Of the executable, lower-case hex. */
  readonly sha256?: string;
}

/** What Kubernetes says about the pod and container that a process runs in. */
export interface KubernetesAttributes {
  readonly namespace: string;
  readonly service_account: string;
  readonly pod_name: string;
  readonly pod_uid: string;
  readonly node_name: string;
  readonly container_name: string;
  readonly image: string;
  readonly image_id?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** KIND:NAME of each owner, as in `ReplicaSet:web-5d4f`. */
  readonly owners?: readonly string[];
}

export interface SystemdAttributes {
  readonly unit: string;
  readonly fragment_path?: string;
}

export interface DockerAttributes {
  readonly container_id: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** What workload attestation found out about a caller; rules see nothing else of it. */
export interface WorkloadAttributes {
  readonly unix?: UnixAttributes;
  readonly k8s?: KubernetesAttributes;
  readonly systemd?: SystemdAttributes;
  readonly docker?: DockerAttributes;
}

/** Verified data of an attestor or of a token: JSON without null. */
export type Claim = string | number | boolean | readonly Claim[] | { readonly [key: string]: Claim };

/** What node attestation found out about the agent that asks. */
export interface AgentAttributes {
  readonly agent: { readonly id: SpiffeId; readonly attestor: string };
  /** `agent:id:...`, `agent:attestor:...` are always among them (see `agentSelectors`); the attestor adds its own. */
  readonly selectors: readonly string[];
  readonly claims: Readonly<Record<string, Claim>>;
  /** When the agent's identity ends for good (milliseconds since 1970): it is not renewed past it. Absent: never. */
  readonly endsAt?: number;
}

/** A condition on the agents that may ask: all selectors, and the expression over `agent` and `claims`. */
export interface NodeCondition {
  readonly selectors?: readonly string[];
  readonly when?: string;
}

/** The right to be a child authority, limited to areas of the trust domain. */
export interface Downstream {
  /** Path prefixes that begin and end with "/", as in "/area/payments/". */
  readonly prefixes?: readonly string[];
  /** Must be written where there are no prefixes: the child may then speak for every path. */
  readonly unlimited?: true;
  /** Trust domains of its own, whose bundles it may make known here. */
  readonly trustDomains?: readonly string[];
  /** How many authorities may follow below the child. */
  readonly pathLength?: number;
}

/** One IdentityRule document: which workloads on which nodes get which SPIFFE ID. */
export interface IdentityRule {
  readonly apiVersion: typeof IDENTITY_API_VERSION;
  readonly kind: typeof IDENTITY_RULE_KIND;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: IdentityRuleSpec;
}

export interface IdentityRuleSpec {
  /** A path below the trust domain, or a whole ID; `{k8s.namespace}` stands for an attribute's value. */
  readonly spiffeId: string;
  /** All must be among the workload's. */
  readonly selectors?: readonly string[];
  /** CEL over the attributes. */
  readonly when?: string;
  readonly nodes?: NodeCondition;
  /** `1h`, `90m`, `30s`, `7d`. */
  readonly ttl?: string;
  readonly jwtTtl?: string;
  readonly dnsNames?: readonly string[];
  readonly hint?: string;
  /** Trust domains whose bundles the workload gets. */
  readonly federatesWith?: readonly string[];
  /** Which authority of the server signs; absent for the default one. */
  readonly authority?: string;
  readonly downstream?: Downstream;
}

/** What a rule gives to one workload. */
export interface GivenIdentity {
  /** The rule's name. */
  readonly rule: string;
  readonly spiffeId: SpiffeId;
  readonly dnsNames: readonly string[];
  /** Life of an X509-SVID, milliseconds. */
  readonly ttl: number;
  /** Life of a JWT-SVID, milliseconds. */
  readonly jwtTtl: number;
  /** "" for none. */
  readonly hint: string;
  readonly federatesWith: readonly string[];
  readonly authority: string | undefined;
}

/** What a rule with `downstream` gives to one agent. */
export interface GivenAuthority {
  readonly rule: string;
  /** The name of the child in lists and logs. */
  readonly spiffeId: SpiffeId;
  /** Absent: every path of the trust domain. An empty list allows none. */
  readonly prefixes: readonly string[] | undefined;
  /** Trust domains whose bundles it may publish. */
  readonly trustDomains: readonly string[];
  readonly pathLength: number;
  /** Longest life of the child's certificate, milliseconds. */
  readonly ttl: number;
  /** Longest life of the JWT-SVIDs that are signed for its workloads, milliseconds. */
  readonly jwtTtl: number;
  readonly authority: string | undefined;
}
