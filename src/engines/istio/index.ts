import { shortNameOf, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import { withoutEnds } from '../ends.ts';
import type { Engine, EngineDocument, RenderOptions } from '../engine.ts';
import { protectedGrants } from '../grants.ts';
import { Losses } from '../losses.ts';
import { hashedName, objectName } from '../names.ts';
import { type Pods, podsOf } from '../pods.ts';
import { type ProtectedRules, protectedRules, type ReadRule } from '../rule-targets.ts';
import { SharedLabels } from '../shared-labels.ts';
import { istioRules } from './authorization.ts';

/** Pods that no state knows stand in this namespace unless the policy names one. */
const DEFAULT_NAMESPACE = 'default';

/**
 * Istio's AuthorizationPolicies: for each AccessPolicy an ALLOW document, without rules where nothing is allowed
 * (Istio then denies everything, and so does the policy), and a DENY document where something is denied.
 */
export const engine: Engine = {
  name: 'istio',
  render(given, options) {
    const losses = new Losses();
    const policies = withoutEnds(given, options.at, losses);
    const all = protectedGrants(policies);
    const shared = new SharedLabels(all, options);
    const grants = new Map(all.map((workload) => [workload.id, workload]));
    const names = new Names();
    const documents = protectedRules(policies).flatMap((rules) => {
      const place = placeOf(rules, options);
      const own = grants.get(rules.id);
      if (own !== undefined) shared.tellProtected(own, losses);
      return rules.policies.flatMap((policy) => {
        tellPlace(policy, rules.id, place, losses);
        tellMesh(policy, rules.id, losses);
        if (options.shadow) tellShadow(policy, losses);
        const name = names.take(place.namespace, policy.metadata.name, rules.id);
        return documentsOf(policy, rules, { name, place, shadow: options.shadow, losses });
      });
    });
    return { documents, losses: losses.list() };
  },
};

interface Place extends Pick<Pods, 'namespace' | 'labels' | 'assumed' | 'hostNetwork'> {
  readonly namespaceAssumed: boolean;
}

function placeOf({ id, policies }: ProtectedRules, options: RenderOptions): Place {
  const pods = podsOf(id, options, trustDomainOf(id));
  if (pods !== undefined) return { ...pods, namespaceAssumed: false };
  const stated = policies.find(({ metadata }) => metadata.namespace !== undefined)?.metadata.namespace;
  return {
    namespace: stated ?? DEFAULT_NAMESPACE,
    labels: { app: shortNameOf(id) },
    assumed: true,
    hostNetwork: false,
    namespaceAssumed: stated === undefined,
  };
}

interface Writing {
  readonly name: string;
  readonly place: Place;
  readonly shadow: boolean;
  readonly losses: Losses;
}

function documentsOf({ metadata }: AccessPolicy, rules: ProtectedRules, writing: Writing): EngineDocument[] {
  const own = (side: readonly ReadRule[]) => side.filter(({ policy }) => policy === metadata.name);
  const render = (side: readonly ReadRule[], denying: boolean) =>
    own(side).flatMap((rule) => istioRules(rule, denying, writing.losses));
  const denied = render(rules.deny, true);
  const allow = documentOf('ALLOW', render(rules.allow, false), writing);
  // DENY without rules does nothing in Istio; it is not written.
  return denied.length === 0 ? [allow] : [documentOf('DENY', denied, writing), allow];
}

function documentOf(
  action: 'ALLOW' | 'DENY',
  rules: readonly object[],
  { name, place, shadow }: Writing,
): EngineDocument {
  const full = `${name}-${action.toLowerCase()}`;
  const { namespace, labels } = place;
  return {
    file: `${objectName(namespace)}/${full}.yaml`,
    content: {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: {
        name: full,
        namespace,
        ...(shadow ? { annotations: { 'istio.io/dry-run': 'true' } } : {}),
      },
      // ALLOW with an empty list of rules matches nothing: all is denied. A rule `{}` would match everything.
      spec: { selector: { matchLabels: labels }, action, ...(rules.length === 0 ? {} : { rules }) },
    },
  };
}

/** Names of documents, unique in each namespace: two workloads may have policies of one name. */
class Names {
  readonly #taken = new Set<string>();

  take(namespace: string, policy: string, workload: SpiffeId): string {
    const plain = objectName(`interlock-${policy}`);
    const name = this.#taken.has(`${namespace}/${plain}`)
      ? hashedName(plain, `${workload} ${policy}`)
      : plain;
    this.#taken.add(`${namespace}/${name}`);
    return name;
  }
}

function tellPlace({ metadata }: AccessPolicy, id: SpiffeId, place: Place, losses: Losses): void {
  const where = { policy: metadata.name };
  if (place.namespaceAssumed) {
    const what = `The namespace of ${id} is not known: ${place.namespace} is taken.`;
    losses.add('same', 'namespace-assumed', where, what);
  }
  if (place.assumed) {
    const what = `The labels of ${id} are not known: its pods are selected by app: ${place.labels['app'] ?? ''}; where they have no such label, nothing is enforced.`;
    losses.add('same', 'labels-assumed', where, what);
  }
  if (place.hostNetwork) {
    const what = `${id} runs on its nodes' own network, where Istio has no proxy: nothing restricts who calls it.`;
    losses.add('wider', 'host-network', where, what);
  }
}

/** What the documents rely on that only the mesh's own configuration can give. */
function tellMesh({ metadata, spec }: AccessPolicy, id: SpiffeId, losses: Losses): void {
  const where = { policy: metadata.name };
  const domain = trustDomainOf(id);
  const trust =
    domain === 'cluster.local'
      ? 'In Istio cluster.local stands for the trust domain of the mesh, whatever its name is.'
      : `The mesh must have the trust domain ${domain} (meshConfig.trustDomain).`;
  losses.add('same', 'mesh-trust-domain', where, trust);
  if ([...spec.rules, ...spec.deny].every(({ to }) => to.every((target) => 'tcp' in target))) return;
  const paths =
    'The mesh must normalise paths as the policy does (meshConfig.pathNormalization.normalization: ' +
    'DECODE_AND_MERGE_SLASHES); an escaped slash, which the policy denies, is then judged and sent on as a slash.';
  losses.add('same', 'mesh-path-normalization', where, paths);
  const ports =
    'Istio must know ports with rules about requests as HTTP (appProtocol or the name of the port), and ambient ' +
    'mode needs the documents on a waypoint (targetRefs): elsewhere such rules allow nothing.';
  losses.add('same', 'mesh-http-ports', where, ports);
}

function tellShadow({ metadata }: AccessPolicy, losses: Losses): void {
  const where = { policy: metadata.name };
  const next =
    'Istio judges dry-run policies without those that are enforced: next to enforced ALLOW policies of the ' +
    'workload it reports denials that promotion would not bring.';
  losses.add('same', 'dry-run-alone', where, next);
  const ambient = 'In ambient mode ztunnel reports no dry-run denials next to an enforced ALLOW policy.';
  losses.add('same', 'dry-run-ambient', where, ambient);
}
