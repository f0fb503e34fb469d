import { checkWorkload } from './check.ts';
import { inboundResources } from './inbound.ts';
import { outboundResources } from './outbound.ts';
import { rulesOfPorts } from './rules.ts';
import type { EnvoyResources, EnvoyWorkload } from './types.ts';

export { messageOf } from './encode.ts';
export {
  CONTROL_PLANE_CLUSTER,
  inboundName,
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
