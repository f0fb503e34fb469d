import type { EngineDocument } from '../engine.ts';
import { objectName } from '../names.ts';
import type { Place } from '../places.ts';
import type { Client } from './callers.ts';
import type { Route } from './routes.ts';

const GROUP = 'policy.linkerd.io';
/** The Gateway API takes 8 matches in a rule and 16 rules in a route. */
const MATCHES_IN_A_RULE = 8;
const MATCHES_IN_A_ROUTE = 128;

/** The Server of a port. */
export function serverDocument(place: Place, port: number, opaque: boolean, shadow: boolean): EngineDocument {
  return document(place, `${GROUP}/v1beta3`, 'Server', serverName(place, port), {
    podSelector: { matchLabels: { ...place.pods.labels } },
    port,
    // Without requests to look at the protocol need not be known, and some servers speak first.
    proxyProtocol: opaque ? 'opaque' : 'unknown',
    accessPolicy: shadow ? 'audit' : 'deny',
  });
}

/** The routes of a port, with what authorizes them; the last one takes every other request, for nobody. */
export function routeDocuments(place: Place, port: number, routes: readonly Route[]): EngineDocument[] {
  const rest = { path: { type: 'PathPrefix', value: '/' } };
  const nobody = routes.filter(({ clients }) => clients.length === 0).flatMap(({ matches }) => matches);
  const all = [
    ...routes.filter(({ clients }) => clients.length > 0),
    { clients: [], matches: [...nobody, rest] },
  ].flatMap(({ clients, matches }) =>
    chunks(matches, MATCHES_IN_A_ROUTE).map((some) => ({ clients, matches: some })),
  );
  return all.flatMap(({ clients, matches }, i) => {
    const name = objectName(`${place.name}-${port}-${i + 1}`);
    const route = document(place, `${GROUP}/v1beta3`, 'HTTPRoute', name, {
      parentRefs: [{ group: GROUP, kind: 'Server', name: serverName(place, port) }],
      rules: chunks(matches, MATCHES_IN_A_RULE).map((some) => ({ matches: some })),
    });
    return [route, ...authorizations(place, 'HTTPRoute', name, clients)];
  });
}

/** What authorizes clients on the whole of a port. */
export function serverAuthorizations(
  place: Place,
  port: number,
  clients: readonly Client[],
): EngineDocument[] {
  return authorizations(place, 'Server', serverName(place, port), clients);
}

function serverName(place: Place, port: number): string {
  return objectName(`${place.name}-${port}`);
}

/** One policy for each kind of authentication: those of one policy must all hold, any of several policies may. */
function authorizations(
  place: Place,
  kind: string,
  target: string,
  clients: readonly Client[],
): EngineDocument[] {
  const refs = clients.flatMap((client) => (client.kind === 'ref' ? [client.ref] : []));
  const identities = clients.flatMap((client) => (client.kind === 'identity' ? [client.identity] : []));
  const networks = clients.flatMap((client) =>
    client.kind === 'network'
      ? [{ cidr: client.cidr, ...(client.except.length === 0 ? {} : { except: [...client.except] }) }]
      : [],
  );
  const parts: [string, string, Record<string, unknown>, boolean][] = [
    ['accounts', 'MeshTLSAuthentication', { identityRefs: refs }, refs.length > 0],
    ['identities', 'MeshTLSAuthentication', { identities }, identities.length > 0],
    ['networks', 'NetworkAuthentication', { networks }, networks.length > 0],
  ];
  return parts.flatMap(([suffix, authentication, spec, used]) => {
    if (!used) return [];
    const name = objectName(`${target}-${suffix}`);
    return [
      document(place, `${GROUP}/v1alpha1`, authentication, name, spec),
      document(place, `${GROUP}/v1alpha1`, 'AuthorizationPolicy', name, {
        targetRef: { group: GROUP, kind, name: target },
        requiredAuthenticationRefs: [{ group: GROUP, kind: authentication, name }],
      }),
    ];
  });
}

function document(
  { file, pods, marks }: Place,
  apiVersion: string,
  kind: string,
  name: string,
  spec: Record<string, unknown>,
): EngineDocument {
  return {
    file: `${file}/${name}.${kind.toLowerCase()}.yaml`,
    content: { apiVersion, kind, metadata: { name, namespace: pods.namespace, ...marks }, spec },
  };
}

function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) =>
    list.slice(i * size, (i + 1) * size),
  );
}
