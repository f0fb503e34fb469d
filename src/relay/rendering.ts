import { createHash } from 'node:crypto';
import { InterlockError, type SpiffeId } from '../access/index.ts';
import {
  checkEnvoyRoutes,
  CONTROL_PLANE_CLUSTER,
  type EnvoyResources,
  envoyResources,
  messageOf,
} from '../engines/envoy/resources/index.ts';
import { type ProxyDocument, readProxyDocument } from '../proxy/document/index.ts';
import { type Enforcement, enforcementNow, enforcementVersion } from '../rollout/index.ts';
import { type Resource, resourceOf } from '../xds/index.ts';

/** What an Envoy is given for a workload, apart from its policies. */
export interface EnvoyRoutes {
  readonly workload: SpiffeId;
  readonly document: ProxyDocument;
}

/**
 * Reads the Proxy document of an Envoy of this workload, YAML or JSON. Throws `invalid_document`, also for what no Envoy
 * can be given, and for the document of another workload.
 */
export function readRoutes(text: string, file: string, workload: SpiffeId): EnvoyRoutes {
  const document = readProxyDocument(text, file);
  if (document.workload !== undefined && document.workload !== workload)
    throw new InterlockError(
      'invalid_document',
      file,
      `${file} is the Proxy of ${document.workload}, and this relay serves ${workload}`,
    );
  checkEnvoyRoutes(workload, document);
  return { workload, document };
}

/** The resources of one enforcement, and what they lose of its policies. */
export interface Rendered {
  readonly resources: readonly Resource[];
  readonly losses: EnvoyResources['losses'];
}

/**
 * Renders what an Envoy is to have at a time. The same enforcement gives the same resources as long as none of its rules
 * ends, after a restart as well. Throws `invalid_document`.
 */
export function render(
  { workload, document }: EnvoyRoutes,
  wanted: Enforcement,
  trustDomains: readonly string[],
  now: number,
): Rendered {
  const enforcement = enforcementNow(wanted, now);
  const { resources, losses } = envoyResources({
    workload,
    trustDomains,
    enforcement,
    version: enforcementVersion(enforcement.targetVersion, digestOf(enforcement)),
    inbound: document.inbound,
    outbound: document.outbound,
    accessLogCluster: CONTROL_PLANE_CLUSTER,
  });
  return { resources: resources.map((resource) => resourceOf(messageOf(resource))), losses };
}

/** The same content, the same text. */
function digestOf(content: Enforcement): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 16);
}
