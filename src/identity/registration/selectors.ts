import type { SpiffeId } from '../../access/index.ts';
import type { WorkloadAttributes } from './types.ts';

/** The selectors that workloads can have, by type and key: SPIRE's own words (its workload attestor plugins). */
const WORKLOAD_KEYS: Readonly<Record<string, readonly string[]>> = {
  unix: ['uid', 'gid', 'user', 'group', 'supplementary_gid', 'path', 'sha256'],
  k8s: [
    'ns',
    'sa',
    'pod-name',
    'pod-uid',
    'pod-label',
    'pod-owner',
    'node-name',
    'container-name',
    'container-image',
  ],
  systemd: ['id', 'fragment_path'],
  docker: ['label', 'env', 'image_id'],
};

/** The selectors that agents can have; an attestor's keys are its own. */
const NODE_TYPES = ['agent', 'join_token', 'x509pop', 'k8s_psat', 'oidc'];

/** Why no workload could ever have this selector, or undefined. */
export function selectorFault(selector: string): string | undefined {
  const [type = '', key = '', ...value] = selector.split(':');
  const keys = Object.hasOwn(WORKLOAD_KEYS, type) ? WORKLOAD_KEYS[type] : undefined;
  if (keys === undefined)
    return `there are no "${type}" selectors: use ${Object.keys(WORKLOAD_KEYS).join(', ')}`;
  if (!keys.includes(key))
    return `there is no "${type}:${key}" selector: use ${keys.map((k) => `${type}:${k}`).join(', ')}`;
  return value.join(':') === '' ? 'its value is missing' : undefined;
}

/** Why no agent could ever have this selector, or undefined. */
export function nodeSelectorFault(selector: string): string | undefined {
  const [type = '', key = '', ...value] = selector.split(':');
  if (!NODE_TYPES.includes(type))
    return `there are no "${type}" selectors of agents: use ${NODE_TYPES.join(', ')}`;
  if (type === 'agent' && key !== 'id' && key !== 'attestor')
    return `there is no "agent:${key}" selector: use agent:id, agent:attestor`;
  return key === '' || value.join(':') === '' ? 'its value is missing' : undefined;
}

/** Every selector of a workload, in SPIRE's text forms. */
export function selectorsOf(attributes: WorkloadAttributes): Set<string> {
  const found = new Set<string>();
  const add = (name: string, value: string | number | undefined) => {
    if (value !== undefined && value !== '') found.add(`${name}:${value}`);
  };
  const { unix, k8s, systemd, docker } = attributes;
  if (unix !== undefined) {
    add('unix:uid', unix.uid);
    add('unix:gid', unix.gid);
    add('unix:user', unix.user);
    add('unix:group', unix.group);
    for (const gid of unix.groups) add('unix:supplementary_gid', gid);
    add('unix:path', unix.path);
    add('unix:sha256', unix.sha256);
  }
  if (k8s !== undefined) {
    add('k8s:ns', k8s.namespace);
    add('k8s:sa', k8s.service_account);
    add('k8s:pod-name', k8s.pod_name);
    add('k8s:pod-uid', k8s.pod_uid);
    add('k8s:node-name', k8s.node_name);
    add('k8s:container-name', k8s.container_name);
    add('k8s:container-image', k8s.image);
    add('k8s:container-image', k8s.image_id);
    addLabels('k8s:pod-label', k8s.labels, add);
    for (const owner of k8s.owners ?? []) add('k8s:pod-owner', owner);
  }
  if (systemd !== undefined) {
    add('systemd:id', systemd.unit);
    add('systemd:fragment_path', systemd.fragment_path);
  }
  if (docker !== undefined) {
    add('docker:image_id', docker.image);
    addLabels('docker:label', docker.labels, add);
    for (const [name, value] of Object.entries(docker.env ?? {})) found.add(`docker:env:${name}=${value}`);
  }
  return found;
}

/** A ":" in a label's key would let one label read as another: such a label is for `when` only. */
function addLabels(
  name: string,
  labels: Readonly<Record<string, string>>,
  add: (name: string, value: string) => void,
): void {
  for (const [key, value] of Object.entries(labels)) if (!key.includes(':')) add(name, `${key}:${value}`);
}

/** Every selector of an agent: its ID, its attestor, and what the attestor found. */
export function agentSelectors(id: SpiffeId, attestor: string, found: readonly string[]): string[] {
  // An attestor speaks only for itself: it cannot claim another's selectors, or another agent's ID.
  const own = found.filter((selector) => selector.startsWith(`${attestor}:`));
  return [...new Set([`agent:id:${id}`, `agent:attestor:${attestor}`, ...own])];
}
