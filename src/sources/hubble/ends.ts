import { type Endpoint, type Entity, spiffeIdOf, type Tally } from '../../access/index.ts';
import { type DnsNames, hostName } from './dns-names.ts';
import type { RawEnd } from './flow.ts';
import { NotUsable } from './json.ts';

/** One end of a flow under the strongest name that the flow gives it. */
export interface End {
  readonly endpoint: Endpoint;
  /** The pod, else the address: what tells instances of one workload apart. */
  readonly instance: string | undefined;
}

/**
 * Cilium's reserved identities (pkg/identity/numericidentity.go), most telling first: an address may carry
 * several (a node that runs the API server is `kube-apiserver` and `remote-node`).
 */
const RESERVED: readonly {
  readonly label: string;
  readonly numbers: readonly number[];
  readonly entity: Entity;
}[] = [
  { label: 'reserved:kube-apiserver', numbers: [7], entity: 'kube-apiserver' },
  { label: 'reserved:ingress', numbers: [8], entity: 'ingress' },
  { label: 'reserved:health', numbers: [4], entity: 'health' },
  { label: 'reserved:host', numbers: [1], entity: 'host' },
  { label: 'reserved:remote-node', numbers: [6], entity: 'remote-node' },
  { label: 'reserved:init', numbers: [5], entity: 'init' },
  { label: 'reserved:unmanaged', numbers: [3], entity: 'unmanaged' },
  { label: 'reserved:world', numbers: [2], entity: 'world' },
  { label: 'reserved:world-ipv4', numbers: [9], entity: 'world' },
  { label: 'reserved:world-ipv6', numbers: [10], entity: 'world' },
];
/** Identities below are reserved by Cilium; those from here on with bit 24 are CIDRs outside the cluster. */
const FIRST_OWN_IDENTITY = 256;
const CIDR_SCOPE = 0x0100_0000;

/** Identities that an address has while Cilium does not know its pod (yet); a pod that is named is the pod. */
const MAY_BE_POD: ReadonlySet<Entity> = new Set(['init', 'unmanaged', 'unknown', 'world']);

/** Addresses outside that are kept by name as callers; later ones are counted as `world` alone. */
export const MAX_WORLD_CALLERS = 4096;

// DNS-1123 subdomain, with the capitals and underscores that some pod runtimes let through.
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

/** Gives flow ends their names. */
export class Ends {
  readonly #tally: Tally;
  readonly #names: DnsNames;
  readonly #worldCallers = new Set<string>();

  constructor(tally: Tally, names: DnsNames) {
    this.#tally = tally;
    this.#names = names;
  }

  /** The end that called. Never given a DNS name: who answers to a name says nothing of who calls. */
  caller(raw: RawEnd, at: number): End {
    const end = this.#named(raw, at);
    const { entity, ip } = end.endpoint;
    if (entity !== 'world' || ip === undefined || this.#worldCallers.has(ip)) return end;
    if (this.#worldCallers.size >= MAX_WORLD_CALLERS) return { ...end, endpoint: { entity } };
    this.#worldCallers.add(ip);
    return end;
  }

  /** The end that was called by `callerIp`, under the DNS name that led there where one is known. */
  callee(raw: RawEnd, callerIp: string, at: number): End {
    const end = this.#named(raw, at);
    if (end.endpoint.entity === undefined || end.endpoint.ip === undefined) return end;
    if (end.endpoint.entity !== 'world' && end.endpoint.entity !== 'unknown') return end;
    const host = this.#names.nameOf(callerIp, raw.ip) ?? onlyName(raw);
    return host === undefined ? end : { ...end, endpoint: { ...end.endpoint, host } };
  }

  #named(raw: RawEnd, at: number): End {
    const entity = entityOf(raw);
    const address = raw.ip === '' ? undefined : raw.ip;
    const instance = raw.pod !== undefined && NAME.test(raw.pod) ? raw.pod : address;
    const spiffeId = spiffeIdIn(raw.labels);
    if (spiffeId !== undefined) return { endpoint: { spiffeId }, instance };
    const pod = entity === undefined || MAY_BE_POD.has(entity) ? podOf(raw) : undefined;
    if (pod !== undefined) return { endpoint: pod, instance };
    if (raw.ip === '') {
      if (entity === undefined) throw new NotUsable('an end without a name, identity or address');
      return { endpoint: { entity }, instance };
    }
    // These identities mean that Cilium does not know; an inventory may.
    if (entity === undefined || entity === 'unknown' || entity === 'unmanaged' || entity === 'init') {
      const known = this.#tally.endpointOfIp(raw.ip, at);
      if (known.workload !== undefined || known.serviceAccount !== undefined || known.pod !== undefined) {
        return { endpoint: known, instance };
      }
    }
    return { endpoint: { ip: raw.ip, entity: entity ?? 'unknown' }, instance };
  }
}

function entityOf(raw: RawEnd): Entity | undefined {
  let reserved = false;
  let labelled = false;
  for (const label of raw.labels) {
    if (label.startsWith('reserved:')) reserved = true;
    else if (label.startsWith('cidr:') || label.startsWith('fqdn:')) reserved = true;
    else labelled = true;
  }
  if (reserved) {
    for (const { label, entity } of RESERVED) if (raw.labels.includes(label)) return entity;
    return raw.labels.some((l) => l.startsWith('cidr:') || l.startsWith('fqdn:')) ? 'world' : 'unknown';
  }
  const { identity } = raw;
  if (labelled || identity === undefined || raw.pod !== undefined) return undefined;
  if (identity < FIRST_OWN_IDENTITY) {
    for (const { numbers, entity } of RESERVED) if (numbers.includes(identity)) return entity;
    return identity === 0 ? undefined : 'unknown';
  }
  return identity >>> 24 === CIDR_SCOPE >>> 24 ? 'world' : undefined;
}

/** The pod's names: the flow's own fields, then the labels that Cilium derives from the pod itself. */
function podOf(raw: RawEnd): Endpoint | undefined {
  const namespace = raw.namespace ?? kubernetesLabel(raw.labels, 'io.kubernetes.pod.namespace');
  const serviceAccount = kubernetesLabel(raw.labels, 'io.cilium.k8s.policy.serviceaccount');
  const workload = raw.workload === undefined ? undefined : ownerOf(raw.workload, raw.workloadKind);
  for (const name of [namespace, serviceAccount, workload, raw.pod]) {
    if (name !== undefined && !NAME.test(name)) throw new NotUsable('a name that Kubernetes does not allow');
  }
  if (serviceAccount === undefined && workload === undefined && raw.pod === undefined) return undefined;
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...(serviceAccount === undefined ? {} : { serviceAccount }),
    ...(workload === undefined ? {} : { workload }),
    ...(raw.pod === undefined ? {} : { pod: raw.pod }),
  };
}

/** Only labels from Kubernetes (or, in old dumps, of no stated source) speak for a pod. */
function kubernetesLabel(labels: readonly string[], key: string): string | undefined {
  for (const label of labels) {
    const text = label.startsWith('k8s:') ? label.slice(4) : label;
    if (text.startsWith(key) && text.charCodeAt(key.length) === 0x3d) {
      return text.slice(key.length + 1) || undefined;
    }
  }
  return undefined;
}

/**
 * The workload that people wrote. Some versions name the ReplicaSet or Job in between; Kubernetes makes these
 * names from the owner's: a hash in its own alphabet (apimachinery, rand.SafeEncodeString), or a CronJob's
 * scheduled time in minutes since 1970.
 */
function ownerOf(name: string, kind: string | undefined): string {
  if (kind === 'ReplicaSet') return name.replace(/-[bcdfghjklmnpqrstvwxz2456789]{6,10}$/, '');
  if (kind === 'Job') return name.replace(/-\d{8}$/, '');
  return name;
}

/** A SPIFFE ID that a label carries; two different ones are none. */
function spiffeIdIn(labels: readonly string[]): string | undefined {
  let found: string | undefined;
  for (const label of labels) {
    const start = label.indexOf('spiffe://');
    const id = start < 0 ? undefined : spiffeIdOf(label.slice(start));
    if (id === undefined || id === found) continue;
    if (found !== undefined) return undefined;
    found = id;
  }
  return found;
}

/** The one name that Hubble knew the address by; of several, nobody can say which was meant. */
function onlyName(raw: RawEnd): string | undefined {
  const [name, ...others] = raw.names;
  return name === undefined || others.length > 0 ? undefined : hostName(name);
}
