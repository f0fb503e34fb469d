import { InterlockError, type SpiffeId } from '../../../access/index.ts';
import type { AuthenticationStage } from '../../../rollout/index.ts';
import { checkWorkload } from './check.ts';
import { inboundResources } from './inbound.ts';
import { outboundResources } from './outbound.ts';
import { CONTROL_PLANE_CLUSTER } from './names.ts';
import { rulesOfPorts } from './rules.ts';
import type { EnvoyResources, EnvoyWorkload } from './types.ts';

export { messageOf } from './encode.ts';
export {
  CONTROL_PLANE_CLUSTER,
  inboundName,
  isGrpcCluster,
  type LogName,
  logName,
  parseLogName,
  RBAC_FILTERS,
} from './names.ts';
export * from './types.ts';

/**
 * Everything that one Envoy needs for one workload, beside what its bootstrap has: listeners, route configurations,
 * clusters and endpoints, all delivered over ADS; secrets come from the agent. Names are those of the listening
 * addresses: a change of policy keeps them. Throws `invalid_document` for places to listen on that cannot be or would
 * be dangerous, and as compiling the policies does.
 */
export function envoyResources(workload: EnvoyWorkload): EnvoyResources {
  checkWorkload(workload);
  const { ports, losses } = rulesOfPorts(workload);
  const resources = [
    ...workload.inbound.flatMap((inbound, index) => inboundResources(workload, inbound, ports[index] ?? {})),
    ...workload.outbound.flatMap((outbound) => outboundResources(workload, outbound)),
  ];
  return { resources, losses };
}

/** Throws `invalid_document` for routes that no Envoy could be given: it would keep what it had, and nobody be told why. */
export function checkEnvoyRoutes(
  workload: SpiffeId,
  routes: Pick<EnvoyWorkload, 'inbound' | 'outbound'> & {
    readonly authentication: AuthenticationStage;
    readonly outboundUsers?: 'any' | readonly unknown[];
  },
): void {
  const { authentication, inbound, outbound, outboundUsers = 'any' } = routes;
  if (outboundUsers !== 'any' && outboundUsers.length > 0)
    throw new InterlockError(
      'invalid_document',
      workload,
      `${workload}: "outboundUsers" names users, and Envoy cannot tell whose a local connection is: leave it out`,
    );
  envoyResources({
    workload,
    trustDomains: [],
    enforcement: { workload, authentication, stage: 'draft' },
    version: 'check',
    inbound,
    outbound,
    accessLogCluster: CONTROL_PLANE_CLUSTER,
  });
}
