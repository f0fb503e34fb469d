import type { Fact, ServiceFact, WorkloadFact, WorkloadKind } from '../../access/index.ts';
import { isTcp, readPodSpec } from './containers.ts';
import type { Fields } from './fields.ts';
import { hostsOfVariables } from './hosts.ts';

/** One object of an inventory with the parts that every reader needs. */
export interface KubernetesObject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly metadata: Fields;
  readonly fields: Fields;
}

/** Most hosts of one config map: each counts for every container that uses it. */
const MAX_HOSTS_OF_A_MAP = 5000;
const MARKS = 'interlock.dev/';

/** Labels that controllers add to the pods they make: not part of the template that a selector is meant for. */
const GENERATED_LABELS: ReadonlySet<string> = new Set([
  'pod-template-hash',
  'controller-revision-hash',
  'pod-template-generation',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'controller-uid',
  'job-name',
  'batch.kubernetes.io/controller-uid',
  'batch.kubernetes.io/job-name',
  'batch.kubernetes.io/job-completion-index',
]);

/** The name, or the beginning that Kubernetes makes one from. */
export function readName(metadata: Fields): string {
  if (metadata.text('name') !== undefined || !metadata.text('generateName')) return metadata.name('name');
  // `name` bounds the length first: looking for a run of hyphens at the end costs its square.
  return metadata.name('generateName').replace(/-+$/, '') || metadata.name('name');
}

/** A workload from the object that holds its pod template, or from a pod itself. */
export function readWorkload(kind: WorkloadKind, object: KubernetesObject): WorkloadFact {
  const spec = object.fields.in('spec');
  const holder = kind === 'CronJob' ? spec.in('jobTemplate').in('spec') : spec;
  const template = kind === 'Pod' ? object.fields : holder.in('template');
  const schedule = kind === 'CronJob' ? spec.text('schedule') : undefined;
  const timeZone = kind === 'CronJob' ? spec.text('timeZone') : undefined;
  return {
    fact: 'workload',
    kind,
    namespace: object.namespace,
    name: object.name,
    ...readPodSpec(requiredSpec(template)),
    labels: templateLabels(template.in('metadata')),
    marks: { ...readMarks(object.metadata), ...readMarks(template.in('metadata')) },
    ...(schedule === undefined ? {} : { schedule }),
    ...(timeZone === undefined ? {} : { timeZone }),
  };
}

function requiredSpec(template: Fields): Fields {
  const spec = template.maybe('spec');
  if (spec === undefined || spec.list('containers').length === 0) {
    throw template.wrong('spec.containers', 'is missing');
  }
  return spec;
}

function templateLabels(metadata: Fields): Record<string, string> {
  return Object.fromEntries(metadata.entries('labels').filter(([key]) => !GENERATED_LABELS.has(key)));
}

function readMarks(metadata: Fields): Record<string, string> {
  const entries = [...metadata.entries('labels'), ...metadata.entries('annotations')];
  return Object.fromEntries(entries.filter(([key]) => key.startsWith(MARKS)));
}

/** A Service: its TCP ports, and `None` among its addresses when it is headless. */
export function readService({ namespace, name, fields }: KubernetesObject): ServiceFact {
  const spec = fields.in('spec');
  const clusterIp = spec.text('clusterIP');
  const clusterIps = spec.texts('clusterIPs');
  if (clusterIps.length === 0 && clusterIp !== undefined) clusterIps.push(clusterIp);
  const externalName = spec.text('type') === 'ExternalName' ? spec.text('externalName') : undefined;
  return {
    fact: 'service',
    namespace,
    name,
    clusterIps: clusterIps.filter((ip) => ip !== ''),
    selector: externalName === undefined ? spec.map('selector') : {},
    ...(externalName === undefined ? {} : { externalName }),
    ports: spec.list('ports').flatMap((entry) => {
      const port = entry.port('port');
      if (port === undefined) throw entry.wrong('port', 'is missing');
      if (!isTcp(entry)) return [];
      return [{ ...named(entry), port, targetPort: entry.portOrName('targetPort') || port }];
    }),
  };
}

/**
 * The Service that endpoints belong to, where they are written by hand: addresses that are no pods of this
 * cluster. Undefined for those that Kubernetes keeps for a selector: the Service says the same.
 */
export function readEndpoints(object: KubernetesObject): ServiceFact | undefined {
  const { fields, metadata, namespace } = object;
  const isSlice = object.kind === 'EndpointSlice';
  const subsets = isSlice ? [fields] : fields.list('subsets');
  const addresses = subsets.flatMap((set) => set.list(isSlice ? 'endpoints' : 'addresses'));
  if (addresses.some((address) => address.in('targetRef').text('kind') === 'Pod')) return undefined;
  const labels = metadata.map('labels');
  const name = isSlice ? labels['kubernetes.io/service-name'] : object.name;
  if (name === undefined || addresses.length === 0) return undefined;
  const ports = subsets.flatMap((set) =>
    set.list('ports').flatMap((entry) => {
      const port = entry.port('port');
      return port === undefined || !isTcp(entry) ? [] : [{ ...named(entry), port, targetPort: port }];
    }),
  );
  return { fact: 'service', namespace, name, clusterIps: [], selector: {}, ports };
}

/** The hosts that a config map's values name, by key. The values go no further. */
export function readConfigMap({ namespace, name, fields }: KubernetesObject): Fact {
  const variables = fields.entries('data').map(([key, value]) => ({ name: key, value }));
  const hosts = hostsOfVariables(variables).map(({ variable, host }) =>
    Object.assign({ key: variable.name }, host),
  );
  if (hosts.length > MAX_HOSTS_OF_A_MAP)
    throw fields.wrong('data', `names more than ${MAX_HOSTS_OF_A_MAP} hosts`);
  return { fact: 'configMap', namespace, name, hosts };
}

/** A node's own addresses. */
export function readNode({ name, fields }: KubernetesObject): Fact {
  const addresses = fields.in('status').list('addresses');
  const ips = addresses
    .filter((address) => /^(Internal|External)IP$/.test(address.text('type') ?? ''))
    .flatMap((address) => address.text('address') ?? []);
  return { fact: 'node', name, ips };
}

function named(port: Fields): { name?: string } {
  const name = port.text('name');
  return name === undefined || name === '' ? {} : { name };
}
