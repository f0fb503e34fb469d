import type { Entity } from './principal.ts';

/**
 * One end of a recorded call as the recording names it: every field it states, nothing guessed. What identity
 * that is, is decided later and in one place ({@link file://./inventory/identify.ts}), because an inventory may be read
 * after the recording.
 */
export interface Endpoint {
  readonly spiffeId?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** Name of the owning workload (Deployment, StatefulSet, ...), or a trace's `service.name`. */
  readonly workload?: string;
  readonly pod?: string;
  readonly ip?: string;
  /** A DNS name as the caller wrote it: a Service, or a host outside. */
  readonly host?: string;
  readonly entity?: Entity;
}

/**
 * One text for one endpoint, made from the strongest name it has. The pod is left out where a workload or
 * service account is known (it is kept as a caller instance), so that a thousand pods are one endpoint.
 */
export function endpointKey(end: Endpoint): string {
  if (end.spiffeId !== undefined) return end.spiffeId;
  const ns = end.namespace ?? '';
  if (end.serviceAccount !== undefined || end.workload !== undefined) {
    return `w:${ns}/${end.serviceAccount ?? ''}/${end.workload ?? ''}${end.workload === undefined ? `/${end.pod ?? ''}` : ''}`;
  }
  if (end.pod !== undefined) return `p:${ns}/${end.pod}`;
  if (end.host !== undefined) return `h:${ns}/${end.host}`;
  if (end.entity !== undefined && end.ip === undefined) return `e:${end.entity}`;
  if (end.ip !== undefined) return `i:${end.ip}${end.entity === undefined ? '' : `/${end.entity}`}`;
  return 'e:unknown';
}

/** The endpoint reduced to what {@link endpointKey} tells apart: the form that is stored. */
export function canonicalEndpoint(end: Endpoint): Endpoint {
  if (end.spiffeId !== undefined) return { spiffeId: end.spiffeId };
  const ns = end.namespace === undefined ? {} : { namespace: end.namespace };
  if (end.serviceAccount !== undefined || end.workload !== undefined) {
    return {
      ...ns,
      ...(end.serviceAccount === undefined ? {} : { serviceAccount: end.serviceAccount }),
      ...(end.workload === undefined ? {} : { workload: end.workload }),
      ...(end.workload === undefined && end.pod !== undefined ? { pod: end.pod } : {}),
    };
  }
  if (end.pod !== undefined) return { ...ns, pod: end.pod };
  if (end.host !== undefined) return { ...ns, host: end.host };
  if (end.ip !== undefined)
    return { ip: end.ip, ...(end.entity === undefined ? {} : { entity: end.entity }) };
  return { entity: end.entity ?? 'unknown' };
}
