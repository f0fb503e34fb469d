import type { Hierarchy } from './cgroup.ts';

/** A container as its process's cgroup names it; the runtime or the kubelet has the last word on what it is. */
export interface ContainerPlace {
  /** 64 lower-case hex digits. */
  readonly containerId: string;
  /** Of the pod whose cgroup it lies in, with dashes; absent outside of Kubernetes or where the name is hidden. */
  readonly podUid?: string | undefined;
}

/** What the cgroups say: nothing, one container, or more than one, which nobody honest brings about. */
export type Located =
  | { readonly kind: 'none' | 'ambiguous' }
  | { readonly kind: 'container'; readonly place: ContainerPlace };

/** Services that put containers below themselves (their runtime's cgroupfs driver started from a unit). */
const RUNTIME_UNITS =
  /^(containerd|docker|crio|cri-o|kubelet|k3s|k3s-agent|k0scontroller|k0sworker|rke2-server|rke2-agent|microk8s\.daemon-containerd|snap\.microk8s\.daemon-containerd)\.service$/;

// Scopes of containers (systemd driver) and plain names (cgroupfs driver). `crio-conmon-ID` is CRI-O's own monitor.
const SCOPE = /^(?:cri-containerd|crio|docker|nerdctl)-([0-9a-f]{64})\.scope$/;
const PLAIN = /^(?:crio-)?([0-9a-f]{64})$/;
// "kubepods-burstable-pod1_2.slice:cri-containerd:ID": containerd told to use systemd's names without systemd.
const COLON = /^([^:]*\.slice):(?:cri-containerd|crio|docker):([0-9a-f]{64})$/;

const UID = '[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}';
// A static pod's UID is a hash without dashes.
const POD_PLAIN = new RegExp(`^pod(${UID}|[0-9a-f]{32})$`);
const POD_SLICE = new RegExp(
  `^(?:kubelet-)?kubepods(?:-besteffort|-burstable|-guaranteed)?-pod(${UID}|[0-9a-f]{32})\\.slice$`,
);
const QOS =
  /^(?:besteffort|burstable|guaranteed|(?:kubelet-)?kubepods(?:-besteffort|-burstable|-guaranteed)?\.slice)$/;
const KUBEPODS = /^(?:kubepods|(?:kubelet-)?kubepods\.slice)$/;

/**
 * The container that the cgroups place a process in. Only names that a container runtime or the kubelet itself can
 * have made count: from the root through known parents. A user with a delegated cgroup may create
 * `user.slice/.../kubepods/podX/ID` for himself, and a container any name below its own; neither is believed.
 */
export function locateContainer(hierarchies: readonly Hierarchy[]): Located {
  const places = hierarchies.flatMap(({ segments }) => placeOf(segments) ?? []);
  const ids = new Set(places.map(({ containerId }) => containerId));
  const pods = new Set(places.flatMap(({ podUid }) => podUid ?? []));
  const [containerId] = ids;
  if (containerId === undefined) return { kind: 'none' };
  if (ids.size > 1 || pods.size > 1) return { kind: 'ambiguous' };
  const [podUid] = pods;
  return { kind: 'container', place: { containerId, podUid } };
}

function placeOf(path: readonly string[]): ContainerPlace | undefined {
  const hidden = path.findLastIndex((segment) => segment === '..') + 1;
  const segments = path.slice(hidden);
  return inPod(segments, hidden > 0) ?? inNode(segments, hidden > 0);
}

// From the top: parents of kubepods, kubepods, the class of service, the pod, the container. Where the agent's own
// namespace hides the upper part (it is a container itself, and the path begins with ".."), it starts lower.
function inPod(segments: readonly string[], isHidden: boolean): ContainerPlace | undefined {
  let at = segments.findIndex((segment) => KUBEPODS.test(segment));
  if (at > 0 && !isParents(segments.slice(0, at))) return undefined;
  if (at < 0) {
    const colon = colonPlace(segments);
    if (colon !== undefined) return colon;
    if (!isHidden) return undefined;
  }
  at += 1;
  while (QOS.test(segments[at] ?? '')) at += 1;
  const pod = segments[at] ?? '';
  const uid = (POD_PLAIN.exec(pod) ?? POD_SLICE.exec(pod))?.[1];
  const colon = colonPlace(segments.slice(at));
  if (colon !== undefined) return colon;
  const containerId = uid === undefined ? undefined : containerOf(segments[at + 1]);
  return uid === undefined || containerId === undefined ? undefined : { containerId, podUid: dashed(uid) };
}

function colonPlace(segments: readonly string[]): ContainerPlace | undefined {
  const at = segments.findIndex((segment) => segment.includes(':'));
  const match = COLON.exec(segments[at] ?? '');
  const uid = POD_SLICE.exec(match?.[1] ?? '')?.[1];
  if (match === null || uid === undefined || (at > 0 && !isParents(segments.slice(0, at)))) return undefined;
  return { containerId: match[2] ?? '', podUid: dashed(uid) };
}

// Docker and others on a node: `/docker/ID`, `/system.slice/docker-ID.scope`; or, beside an agent that is a container
// itself, the container alone.
function inNode(segments: readonly string[], isHidden: boolean): ContainerPlace | undefined {
  const [first = '', second] = segments;
  if (first === 'docker' || first === 'system.slice') {
    const containerId = first === 'docker' ? plainOf(second) : scopeOf(second);
    return containerId === undefined ? undefined : { containerId };
  }
  const containerId = isHidden ? containerOf(first) : undefined;
  return containerId === undefined ? undefined : { containerId };
}

// kubepods at the root, below the kubelet's own parent, or below a runtime's unit.
function isParents(segments: readonly string[]): boolean {
  const [first = '', second = ''] = segments;
  if (segments.length === 1) return first === 'kubelet' || first === 'kubelet.slice';
  return segments.length === 2 && first === 'system.slice' && RUNTIME_UNITS.test(second);
}

function containerOf(segment: string | undefined): string | undefined {
  return scopeOf(segment) ?? plainOf(segment);
}

function scopeOf(segment: string | undefined): string | undefined {
  return SCOPE.exec(segment ?? '')?.[1];
}

function plainOf(segment: string | undefined): string | undefined {
  return PLAIN.exec(segment ?? '')?.[1];
}

function dashed(uid: string): string {
  return uid.replaceAll('_', '-');
}
