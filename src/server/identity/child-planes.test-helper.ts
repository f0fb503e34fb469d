import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { type AgentAttributes, createRequest } from '../../identity/index.ts';
import { TestPlane } from '../testing.test-helper.ts';
import { certifiedBy } from '../upstream/join-parent.ts';
import type { Superior } from './authorities.ts';

/** A rule that lets the agent of this name be a child authority. */
export const childRule = (name: string, downstream: string, agents = '', more = '') => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec:
  spiffeId: ${agents}/authorities/${name}
  nodes: { selectors: ["agent:id:spiffe://example.org${agents}/interlock/agent/join_token/${name}"] }
  downstream: ${downstream}
  ${more}
`;

/** What a control plane knows of the agent that a child is to it. */
export function childAgent(name: string, agents = ''): AgentAttributes & { agent: { id: SpiffeId } } {
  const id = parseSpiffeId(`spiffe://example.org${agents}/interlock/agent/join_token/${name}`);
  return { agent: { id, attestor: 'join_token' }, selectors: [`agent:id:${id}`], claims: {} };
}

/** A child of a plane, which asks its parent directly. */
export async function childPlane(
  parent: TestPlane,
  name: string,
  prefixes: readonly string[],
  pathLength = 0,
): Promise<{ plane: TestPlane; agent: AgentAttributes }> {
  const area = parent.plane.registry.domain.prefixes?.[0]?.slice(0, -1) ?? '';
  await parent.apply(childRule(name, JSON.stringify({ prefixes, pathLength }), area));
  const agent = childAgent(name, area);
  let child: TestPlane | undefined;
  const superior: Superior = {
    async sign(keyId) {
      const key = await (child as TestPlane).plane.keys.vault.get(keyId);
      const { chain } = await parent.plane.children.sign(agent, createRequest(key), 0);
      return certifiedBy(chain, parent.plane.registry.ownBundle.x509Authorities);
    },
    signJwt: (order) => parent.plane.children.signJwt(agent, order),
  };
  child = await TestPlane.make({ root: 'parent', prefixes }, { superior });
  await child.plane.authorities.prepare('uid:0');
  return { plane: child, agent };
}
