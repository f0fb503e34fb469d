import { InterlockError, trustDomainOf } from '../../access/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import { withoutEnds } from '../ends.ts';
import type { Engine, EngineDocument, RenderOptions, Rendering } from '../engine.ts';
import { protectedGrants } from '../grants.ts';
import { Losses } from '../losses.ts';
import { type Place, placesOf, tellAll } from '../places.ts';
import { podsOf } from '../pods.ts';
import { SharedLabels } from '../shared-labels.ts';
import { ingressOf } from './ingress.ts';
import { endpointLabels, Peers } from './peers.ts';

const API_VERSION = 'cilium.io/v2';

/**
 * Policies -> one CiliumNetworkPolicy for each protected workload, ingress only. Callers are known by namespace
 * and service account, which is what their SPIFFE ID says; HTTP rules match the path as Cilium's proxy normalises
 * it (its default, `http-normalize-path`), with any query.
 */
export const engine: Engine = {
  name: 'cilium',

  /** Throws `usage` in shadow: audit mode is a setting of an endpoint, not of a policy. */
  render(given: readonly AccessPolicy[], options: RenderOptions): Rendering {
    if (options.shadow) {
      throw new InterlockError(
        'usage',
        'cilium',
        'A CiliumNetworkPolicy has no shadow mode: audit mode is set for an endpoint or a whole agent (PolicyAuditMode), and does not cover HTTP rules. Rehearse the policies instead (interlock rehearse).',
      );
    }
    const losses = new Losses();
    const policies = withoutEnds(given, options.at, losses);
    const all = protectedGrants(policies);
    const shared = new SharedLabels(all, options);
    const places = placesOf(all, options, losses, ({ account }) => account === undefined);
    return {
      documents: places.map((place) => documentOf(place, options, shared, losses)),
      losses: losses.list(),
    };
  },
};

function documentOf(
  place: Place,
  options: RenderOptions,
  shared: SharedLabels,
  losses: Losses,
): EngineDocument {
  const { workload, pods, name, file, marks } = place;
  const ingress = ingressOf(workload, new Peers(workload, options), losses);
  const home = trustDomainOf(workload.id);
  const byLabels = (id: typeof workload.id) => podsOf(id, options, home)?.account === undefined;
  if (byLabels(workload.id)) shared.tellProtected(workload, losses);
  shared.tellCallers(workload, losses, byLabels);
  tellRemarks(place, ingress.peers, losses);
  return {
    file: `${file}.yaml`,
    content: {
      apiVersion: API_VERSION,
      kind: 'CiliumNetworkPolicy',
      metadata: { name, namespace: pods.namespace, ...marks },
      spec: {
        endpointSelector: { matchLabels: endpointLabels(pods) },
        // A rule without sources allows nobody and makes the pods deny by default; here no rule would do neither.
        ingress: ingress.allow.length === 0 ? [{}] : ingress.allow,
        ...(ingress.deny.length === 0 ? {} : { ingressDeny: ingress.deny }),
      },
    },
  };
}

function tellRemarks(
  { workload }: Place,
  peers: ReturnType<typeof ingressOf>['peers'],
  losses: Losses,
): void {
  if (peers.some(({ byLabels }) => byLabels)) {
    const what =
      'Callers that have no service account of their own are selected by labels, which are no identity: any pod that carries them is let in.';
    tellAll(workload, losses, 'wider', 'label-not-identity', what);
  }
  const what =
    "Only incoming connections are restricted; UDP is denied; the pod's own node (probes) is let in unless Cilium is told otherwise; callers are known by the service account that Cilium attributes to their address, without mutual authentication.";
  tellAll(workload, losses, 'same', 'ingress-only', what);
}
