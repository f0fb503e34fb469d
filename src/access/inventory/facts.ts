import type { Endpoint } from '../endpoint.ts';

/** Workload kinds that own pods. */
export const WORKLOAD_KINDS = [
  'Deployment',
  'StatefulSet',
  'DaemonSet',
  'ReplicaSet',
  'Job',
  'CronJob',
  'Pod',
  'ReplicationController',
] as const;
export type WorkloadKind = (typeof WORKLOAD_KINDS)[number];

/** A host (and port) that a workload's configuration names. It is a declared access once it resolves to a Service. */
export interface Declaration {
  readonly host: string;
  /** As written next to the host: the Service's port, not the container's. Absent where none is written. */
  readonly port?: number;
  /** Where a person finds it: `env CART_SERVICE_ADDR of container server`. */
  readonly where: string;
  /** `init` containers and `probe`s count apart from what the workload does when it serves. */
  readonly by: 'container' | 'init' | 'probe';
}

export interface ContainerPort {
  readonly name?: string;
  readonly port: number;
}

/** A workload as its manifest states it. */
export interface WorkloadFact {
  readonly fact: 'workload';
  readonly kind: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  /** Labels of the pod template: what selectors select by. */
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly ContainerPort[];
  readonly images: readonly string[];
  readonly hostNetwork: boolean;
  /** Annotations and labels that Interlock reads (`interlock.dev/tier`, `interlock.dev/owner`). */
  readonly marks: Readonly<Record<string, string>>;
  /** Cron schedule (and time zone, where given) of a CronJob. */
  readonly schedule?: string;
  readonly timeZone?: string;
  readonly declares: readonly Declaration[];
  /** Names of config maps it reads, in its own namespace. */
  readonly configMaps: readonly {
    readonly name: string;
    /** The one key that is read; absent means all of them. */
    readonly key?: string;
    readonly by: Declaration['by'];
    readonly where: string;
  }[];
}

/** A pod that ran: who held an address, and when. Times are milliseconds since 1970 UTC. */
export interface PodFact {
  readonly fact: 'pod';
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
  readonly serviceAccount: string;
  /** The owning workload, with ReplicaSet -> Deployment and Job -> CronJob followed. */
  readonly workload: string;
  /** Kind of the owning workload; absent where the owner is of another kind, or was not stated. */
  readonly workloadKind?: WorkloadKind;
  readonly ips: readonly string[];
  readonly start?: number;
  readonly end?: number;
  readonly hostNetwork: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly ContainerPort[];
  readonly images: readonly string[];
}

export interface ServiceFact {
  readonly fact: 'service';
  readonly namespace: string;
  readonly name: string;
  /** Addresses of the Service itself; `None` says that it is headless: its name gives the pods' addresses. */
  readonly clusterIps: readonly string[];
  /** Empty where the Service has none: its endpoints are not pods that it selects. */
  readonly selector: Readonly<Record<string, string>>;
  readonly externalName?: string;
  readonly ports: readonly {
    readonly name?: string;
    readonly port: number;
    readonly targetPort: number | string;
  }[];
}

export interface ServiceAccountFact {
  readonly fact: 'serviceAccount';
  readonly namespace: string;
  readonly name: string;
}

/** Hosts that a config map's values name. The values themselves are not kept. */
export interface ConfigMapFact {
  readonly fact: 'configMap';
  readonly namespace: string;
  readonly name: string;
  readonly hosts: readonly { readonly host: string; readonly port?: number; readonly key: string }[];
}

export interface NodeFact {
  readonly fact: 'node';
  readonly name: string;
  readonly ips: readonly string[];
}

/** What an inventory says. Facts of later recordings replace earlier ones of the same {@link factKey}. */
export type Fact = WorkloadFact | PodFact | ServiceFact | ServiceAccountFact | ConfigMapFact | NodeFact;

/** One text for the object that a fact is about. Pods of one name but another uid are different objects. */
export function factKey(fact: Fact): string {
  switch (fact.fact) {
    case 'workload':
      return `workload ${fact.namespace}/${fact.kind}/${fact.name}`;
    case 'pod':
      return `pod ${fact.namespace}/${fact.name}/${fact.uid ?? ''}`;
    case 'node':
      return `node ${fact.name}`;
    default:
      return `${fact.fact} ${fact.namespace}/${fact.name}`;
  }
}

/** Who held an address over a span of time; `undefined` where nobody did, or more than one might have. */
export interface Attribution {
  attribute(ip: string, from: number, to: number): Endpoint | undefined;
}
