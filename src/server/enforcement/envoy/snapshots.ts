import { createHash } from 'node:crypto';
import { InterlockError, type SpiffeId } from '../../../access/index.ts';
import { NO_CLUSTER, parseNodeId } from '../../../engines/envoy/index.ts';
import { CONTROL_PLANE_CLUSTER, envoyResources, messageOf } from '../../../engines/envoy/resources/index.ts';
import { type Enforcement, enforcementNow, enforcementVersion } from '../../../rollout/index.ts';
import {
  type ProxyNode,
  type Resource,
  resourceOf,
  type Snapshot,
  snapshotOf,
  type SnapshotSource,
} from '../../../xds/index.ts';
import type { Timers } from '../../timers.ts';
import type { Hub, PointLink, PointState } from '../hub.ts';
import type { Point } from '../points.ts';
import type { EnvoyDocuments } from './documents.ts';

/** Renderings of one workload that are kept: inside and outside a canary's share, released or not. */
const KEPT = 8;

export interface SnapshotsOptions {
  readonly hub: Hub;
  readonly documents: EnvoyDocuments;
  /** What rules end by. */
  readonly timers: Pick<Timers, 'now'>;
  /** Whether an identity may enforce for a workload. */
  readonly mayServe: (identity: SpiffeId, workload: SpiffeId) => boolean;
  /** The own trust domain, and those it federates with. */
  readonly trustDomains: () => readonly string[];
  /** A state that cannot be rendered: the Envoy keeps the one before. */
  readonly onFault: (key: string, error: unknown) => void;
}

/** What one Envoy is to have: the state of its workload, as resources. */
export class EnvoySnapshots implements SnapshotSource {
  readonly #options: SnapshotsOptions;
  /** Resources of one enforcement of one workload, shared by all Envoys that have it. */
  readonly #made = new Map<SpiffeId, Map<string, readonly Resource[]>>();
  readonly #links = new WeakMap<ProxyNode, { readonly key: string; readonly link: PointLink }>();

  constructor(options: SnapshotsOptions) {
    this.#options = options;
  }

  /** Forgets what was rendered for a workload: its document or its enforcement is another one. */
  changed(workload: SpiffeId): void {
    this.#made.delete(workload);
  }

  open(node: ProxyNode, listener: (snapshot: Snapshot) => void): () => void {
    const { hub, mayServe, onFault } = this.#options;
    const named = parseNodeId(node.id);
    if (named === undefined)
      throw new InterlockError(
        'usage',
        node.spiffeId,
        'node.id is SPIFFE-ID#INSTANCE: make the bootstrap with "interlock envoy bootstrap"',
      );
    const { workload, instance } = named;
    if (!mayServe(node.spiffeId, workload))
      throw new InterlockError(
        'forbidden',
        node.spiffeId,
        `${node.spiffeId} may not enforce for ${workload}`,
      );
    this.#options.documents.checkReadable(workload);
    let previous: Snapshot | undefined;
    let point: Point | undefined;
    const link: PointLink = {
      push: () => {
        if (point === undefined) return;
        try {
          const state = hub.stateOf(point);
          previous = snapshotOf(state.version, this.#resources(workload, state), { previous, prove: true });
          listener(previous);
        } catch (error) {
          onFault(point.key, error);
        }
      },
    };
    point = hub.attach(
      {
        kind: 'envoy',
        identity: workload,
        instance,
        workloads: [workload],
        version: node.userAgent.slice(0, 64),
        ...(node.cluster === '' || node.cluster === NO_CLUSTER ? {} : { cluster: node.cluster }),
      },
      0,
      link,
    );
    link.push();
    this.#links.set(node, { key: point.key, link });
    const attached = point;
    return () => hub.detach(attached, link);
  }

  /** The connection of a node, as the hub has it; undefined before its first request, and after its last. */
  connectionOf(node: ProxyNode): { readonly key: string; readonly link: PointLink } | undefined {
    return this.#links.get(node);
  }

  #resources(workload: SpiffeId, { workloads }: PointState): readonly Resource[] {
    const [state] = workloads;
    const { document } = this.#options.documents.all.get(workload) ?? {};
    // Without a document nobody knows where it should listen: it waits.
    if (state === undefined || document === undefined) return [];
    let made = this.#made.get(workload);
    if (made === undefined) this.#made.set(workload, (made = new Map()));
    // Of the policies as they are now: rules that are over are not rendered.
    const enforcement = enforcementNow(state.enforcement, this.#options.timers.now());
    const key = enforcement === state.enforcement ? state.digest : digestOf(enforcement);
    const known = made.get(key);
    if (known !== undefined) return known;
    const { resources } = envoyResources({
      workload,
      trustDomains: this.#options.trustDomains(),
      enforcement,
      version: enforcementVersion(enforcement.targetVersion, key),
      inbound: document.inbound,
      outbound: document.outbound,
      accessLogCluster: CONTROL_PLANE_CLUSTER,
    });
    const encoded = resources.map((resource) => resourceOf(messageOf(resource)));
    const [oldest] = made.keys();
    if (made.size >= KEPT && oldest !== undefined) made.delete(oldest);
    made.set(key, encoded);
    return encoded;
  }
}

const digests = new WeakMap<Enforcement, string>();

/** Names the content, as the hub does: once for all Envoys that have the same. */
function digestOf(enforcement: Enforcement): string {
  let digest = digests.get(enforcement);
  if (digest === undefined) digests.set(enforcement, (digest = hashOf(enforcement)));
  return digest;
}

function hashOf(enforcement: Enforcement): string {
  return createHash('sha256').update(JSON.stringify(enforcement)).digest('hex').slice(0, 16);
}
