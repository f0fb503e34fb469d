import { parseSpiffeId } from '../../access/index.ts';
import { agentSelectors } from './selectors.ts';
import type { AgentAttributes, Claim, WorkloadAttributes } from './types.ts';

const AGENT = parseSpiffeId('spiffe://example.org/interlock/agent/k8s_psat/prod-node-1');

/** An agent as its attestor leaves it. */
export function agent(
  claims: Record<string, Claim> = {},
  selectors: readonly string[] = [],
): AgentAttributes {
  return {
    agent: { id: AGENT, attestor: 'k8s_psat' },
    selectors: agentSelectors(AGENT, 'k8s_psat', selectors),
    claims,
  };
}

/** A workload in a pod; the parts given replace the usual ones. */
export function pod(
  k8s: Partial<NonNullable<WorkloadAttributes['k8s']>> = {},
  more: Omit<WorkloadAttributes, 'k8s'> = {},
): WorkloadAttributes {
  return {
    unix: { uid: 1000, gid: 1000, user: 'web', group: 'web', groups: [4, 24], path: '/usr/bin/web' },
    k8s: {
      namespace: 'shop',
      service_account: 'web',
      pod_name: 'web-5d4f-x',
      pod_uid: '6a1c5ef0-8a4a-4f0f-9a41-0f4f7b0e3a11',
      node_name: 'node-1',
      container_name: 'server',
      image: 'registry.example/web:1',
      labels: { team: 'pay', 'app.kubernetes.io/name': 'web' },
      owners: ['ReplicaSet:web-5d4f'],
      ...k8s,
    },
    ...more,
  };
}

/** An IdentityRule as YAML, its spec in flow form. */
export function ruleText(spec: string, name = 'rule'): string {
  return `apiVersion: interlock.dev/v1alpha1\nkind: IdentityRule\nmetadata: { name: ${name} }\nspec: { ${spec} }\n---\n`;
}
