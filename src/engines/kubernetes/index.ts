import { InterlockError } from '../../access/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import { withoutEnds } from '../ends.ts';
import type { Engine, EngineDocument, RenderOptions, Rendering } from '../engine.ts';
import { protectedGrants } from '../grants.ts';
import { Losses } from '../losses.ts';
import { type Place, placesOf, tellAll } from '../places.ts';
import { SharedLabels } from '../shared-labels.ts';
import { Callers } from './callers.ts';
import { ingressOf } from './ingress.ts';

const API_VERSION = 'networking.k8s.io/v1';

/**
 * Policies -> one NetworkPolicy for each protected workload. It works on ports and on labels, never on requests
 * or identities: every rendering with callers that are pods is wider in principle (`label-not-identity`), which
 * has to be accepted by name. It isolates the ingress of the pods and leaves their egress alone.
 */
export const engine: Engine = {
  name: 'kubernetes',

  /** Throws `usage` in shadow: the API has no such mode (Kubernetes, "Network Policies"). */
  render(given: readonly AccessPolicy[], options: RenderOptions): Rendering {
    if (options.shadow) {
      throw new InterlockError(
        'usage',
        'kubernetes',
        'A NetworkPolicy has no shadow mode: once applied, it denies. Rehearse the policies instead (interlock rehearse), or render for an engine that has one.',
      );
    }
    const losses = new Losses();
    const policies = withoutEnds(given, options.at, losses);
    const all = protectedGrants(policies);
    const shared = new SharedLabels(all, options);
    const documents = placesOf(all, options, losses).map((place) =>
      documentOf(place, options, shared, losses),
    );
    return { documents, losses: losses.list() };
  },
};

function documentOf(
  place: Place,
  options: RenderOptions,
  shared: SharedLabels,
  losses: Losses,
): EngineDocument {
  const { workload, pods, name, file, marks } = place;
  const ingress = ingressOf(workload, new Callers(workload, options, losses), losses);
  shared.tellProtected(workload, losses);
  shared.tellCallers(workload, losses, () => true);
  if (ingress.rows.some(({ peer }) => peer.kind === 'pods')) {
    tellAll(
      workload,
      losses,
      'wider',
      'label-not-identity',
      'A NetworkPolicy selects callers by labels and namespace and checks no identity: any pod that carries the labels is let in.',
    );
  }
  tellAll(workload, losses, 'same', 'ingress-only', REMARK);
  return {
    file: `${file}.yaml`,
    content: {
      apiVersion: API_VERSION,
      kind: 'NetworkPolicy',
      metadata: { name, namespace: pods.namespace, ...marks },
      spec: {
        podSelector: { matchLabels: { ...pods.labels } },
        // Always written: left out, it would follow from which sections are there.
        policyTypes: ['Ingress'],
        ...(ingress.rules.length === 0 ? {} : { ingress: ingress.rules }),
      },
    },
  };
}

const REMARK =
  "Only incoming connections are restricted, and only where the cluster's network plugin enforces NetworkPolicy; UDP and SCTP are denied; most plugins let the node's own probes in whatever is written; whether open connections are cut is up to the plugin.";
