import { kubernetesNameOf, shortNameOf, type SpiffeId } from '../../access/index.ts';
import type { Engine, EngineDocument } from '../engine.ts';
import { Losses } from '../losses.ts';
import { hashedName, objectName } from '../names.ts';
import { type ProtectedRules, protectedRules } from '../rule-targets.ts';
import { CONNECTION_MANAGER } from './connection-manager.ts';
import { chainsOf } from './filters.ts';
import { servingLosses } from './serving.ts';

export { type ConfigurationSource, envoyBootstrap, NO_CLUSTER } from './bootstrap/bootstrap.ts';
export { parseNodeId } from './bootstrap/node-id.ts';

/**
 * Envoy's RBAC filters, one document for each workload:
 *
 * - `workload`, `policies`: whom it protects, and what it was made from;
 * - `ports`: the ports to be served as `http` and as `tcp`, and how all `others` are;
 * - `http_connection_manager`: fields to be set on every HTTP connection manager of this workload;
 * - `http_filters`: to stand first in its `http_filters`; `network_filters`: first in the `filters` of TCP chains.
 *
 * The listener must verify the certificates that clients show. Shadow documents carry `shadow_rules` alone.
 */
export const engine: Engine = {
  name: 'envoy',
  render(policies, { shadow }) {
    const losses = new Losses();
    const workloads = protectedRules(policies);
    const files = fileNames(workloads.map(({ id }) => id));
    const documents = workloads.map(
      (rules): EngineDocument => ({
        file: `${files.get(rules.id)}.yaml`,
        content: contentOf(rules, shadow, losses),
      }),
    );
    return { documents, losses: losses.list() };
  },
};

function contentOf(rules: ProtectedRules, shadow: boolean, losses: Losses): EngineDocument['content'] {
  const { serving, http, tcp } = chainsOf(rules, { shadow, losses });
  servingLosses(rules, serving, losses);
  return {
    workload: rules.id,
    policies: rules.policies.map(({ metadata }) => metadata.name),
    ports: serving,
    ...(http === undefined ? {} : { http_connection_manager: CONNECTION_MANAGER, http_filters: http }),
    ...(tcp === undefined ? {} : { network_filters: tcp }),
  };
}

function fileNames(ids: readonly SpiffeId[]): Map<SpiffeId, string> {
  const base = (id: SpiffeId) => {
    const named = kubernetesNameOf(id);
    if (named === undefined) return objectName(shortNameOf(id), id);
    return `${objectName(named.namespace)}/${objectName(named.serviceAccount, id)}`;
  };
  const users = Map.groupBy(ids, base);
  const unique = (id: SpiffeId) => (users.get(base(id))?.length === 1 ? base(id) : hashedName(base(id), id));
  return new Map(ids.map((id) => [id, unique(id)]));
}
