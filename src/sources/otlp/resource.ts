import { type Endpoint, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import { eachAttribute, objectOf, textOf } from './values.ts';

/** Who emitted spans: one per distinct resource of a recording. */
export interface Emitter {
  /** One text per service: namespace, `service.namespace` and `service.name`. */
  readonly service: string;
  readonly endpoint: Endpoint;
  /** The pod, or else the host: one caller instance. */
  readonly instance: string | undefined;
  /** `namespace/pod`, where the resource names a pod: two services of one pod share its network. */
  readonly pod: string | undefined;
}

/** Attributes that name the owning workload (OpenTelemetry's k8s resource conventions), surest first. */
const WORKLOAD_KEYS = [
  'k8s.deployment.name',
  'k8s.statefulset.name',
  'k8s.daemonset.name',
  'k8s.cronjob.name',
] as const;
/** Not in the conventions, but what agents write. */
const ACCOUNT_KEYS = ['k8s.serviceaccount.name', 'k8s.service_account.name'] as const;

/**
 * A SPIFFE ID in an attribute: `spiffe://...`, or Istio's principal form without the scheme. Undefined for
 * anything else.
 */
export function principalIn(text: string | undefined): SpiffeId | undefined {
  if (text === undefined) return undefined;
  return spiffeIdOf(/^[^/:]+\/ns\/[^/]+\/sa\/[^/]+$/.test(text) ? `spiffe://${text}` : text);
}

/** Who a resource is, or undefined where it names no service, workload, pod or SPIFFE ID. */
export function emitterOf(resource: unknown): Emitter | undefined {
  const said = new Map<string, string>();
  eachAttribute(objectOf(resource)?.['attributes'], (key, value) => {
    const text = textOf(value);
    if (text !== undefined) said.set(key, text);
  });
  // SDKs write `unknown_service` (or `unknown_service:node`) where nobody named the service.
  const name = said.get('service.name');
  const service = name?.startsWith('unknown_service') === true ? undefined : name;
  const namespace = said.get('k8s.namespace.name') ?? said.get('service.namespace');
  const workload = first(said, WORKLOAD_KEYS) ?? service;
  const serviceAccount = first(said, ACCOUNT_KEYS);
  const pod = said.get('k8s.pod.name');
  const spiffeId = principalIn(said.get('spiffe.id') ?? said.get('spiffe_id'));
  if (workload === undefined && pod === undefined && spiffeId === undefined) return undefined;
  return {
    service: JSON.stringify([
      namespace ?? '',
      said.get('service.namespace') ?? '',
      service ?? workload ?? pod ?? spiffeId,
    ]),
    endpoint: {
      ...(spiffeId === undefined ? {} : { spiffeId }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(serviceAccount === undefined ? {} : { serviceAccount }),
      ...(workload === undefined ? {} : { workload }),
      ...(pod === undefined ? {} : { pod }),
    },
    instance: pod ?? said.get('host.name'),
    pod: pod === undefined ? undefined : `${namespace ?? ''}/${pod}`,
  };
}

function first(said: ReadonlyMap<string, string>, keys: readonly string[]): string | undefined {
  for (const key of keys) {
    const text = said.get(key);
    if (text !== undefined) return text;
  }
  return undefined;
}
