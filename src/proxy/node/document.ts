import { isIP } from 'node:net';
import { z } from 'zod';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { API_VERSION } from '../../policy/index.ts';
import { AUTHENTICATION_STAGES, type AuthenticationStage } from '../../rollout/index.ts';
import {
  address,
  header,
  MAX_ROUTES,
  port,
  protocol,
  readDocument,
  timeouts,
  trustProxyHeader,
  workload,
} from '../program/document-fields.ts';
import { DEFAULT_TIMEOUTS, type Timeouts } from '../settings.ts';
import type { Address, InboundRoute, OutboundRoute } from '../types.ts';

export const NODE_PROXY_KIND = 'NodeProxy';
/** A mark has sixteen bits for the workload; 0 is no workload's. */
const MAX_MARK = 0xff_ff;

const schema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(NODE_PROXY_KIND),
  metadata: z.strictObject({ name: z.string().min(1).max(253) }),
  spec: z.strictObject({
    identity: workload.exactOptional(),
    authentication: z.enum(AUTHENTICATION_STAGES).default('permissive'),
    workloads: z
      .array(z.strictObject({ id: workload, mark: z.int().min(1).max(MAX_MARK).exactOptional() }))
      .min(1)
      .max(MAX_ROUTES),
    inbound: z
      .array(
        z.strictObject({
          workload,
          listen: address,
          destination: z.union([port, address]).exactOptional(),
          forward: address,
          port: port.optional(),
          protocol,
          trustProxyHeader: trustProxyHeader.exactOptional(),
          sendProxyHeader: header.exactOptional(),
        }),
      )
      .max(MAX_ROUTES)
      .default([]),
    outbound: z
      .array(
        z.strictObject({
          listen: address.exactOptional(),
          destinations: z.array(address).max(64).exactOptional(),
          to: address,
          peer: workload,
          protocol,
          sendProxyHeader: header.exactOptional(),
        }),
      )
      .max(MAX_ROUTES)
      .default([]),
    intercept: z
      .strictObject({
        listen: z.union([address, z.array(address).min(1).max(16)]),
        passthrough: z.boolean().default(true),
      })
      .exactOptional(),
    timeouts,
  }),
});

/** One port of a workload of the node. */
export interface NodeInboundRoute extends InboundRoute {
  /** Where several workloads share a port: what the PROXY header names as destination to mean this one; a port, or an
   * address with it. */
  readonly destination?: number | Address;
}

/** One peer that the node's workloads call. */
export interface NodeOutboundRoute extends Omit<OutboundRoute, 'listen' | 'workload'> {
  /** Absent where it is reached through interception alone. */
  readonly listen?: Address;
  /** Where programs mean to connect, for those that are intercepted; `to` where absent. */
  readonly destinations: readonly Address[];
}

/** A NodeProxy document, read. */
export interface NodeProxyDocument {
  readonly name: string;
  /** The node proxy's own, where the agent gives it several; the first of them where absent. */
  readonly identity?: SpiffeId;
  /** How connections are taken until a control plane has said so. */
  readonly authentication: AuthenticationStage;
  readonly workloads: readonly { readonly id: SpiffeId; readonly mark?: number }[];
  readonly inbound: readonly NodeInboundRoute[];
  readonly outbound: readonly NodeOutboundRoute[];
  /** Where redirected connections arrive, and whether those to unknown destinations go on in plain text. */
  readonly intercept?: { readonly listen: readonly Address[]; readonly passthrough: boolean };
  readonly timeouts: Timeouts;
}

/** Reads one NodeProxy document, YAML or JSON. Throws `invalid_document` naming the field, `limit`. */
export function readNodeProxyDocument(text: string, file: string): NodeProxyDocument {
  const { metadata, spec } = readDocument(text, file, NODE_PROXY_KIND, schema);
  const { workloads, intercept } = spec;
  const document: NodeProxyDocument = {
    name: metadata.name,
    ...(spec.identity === undefined ? {} : { identity: spec.identity }),
    authentication: spec.authentication,
    workloads,
    inbound: spec.inbound.map(({ port: policyPort, ...route }) => ({
      ...route,
      port: policyPort ?? route.forward.port,
    })),
    outbound: spec.outbound.map(({ destinations, ...route }) => ({
      ...route,
      destinations: destinations ?? [route.to],
    })),
    ...(intercept === undefined
      ? {}
      : {
          intercept: {
            listen: Array.isArray(intercept.listen) ? intercept.listen : [intercept.listen],
            passthrough: intercept.passthrough,
          },
        }),
    timeouts: { ...DEFAULT_TIMEOUTS, ...spec.timeouts },
  };
  const fault = faultIn(document);
  if (fault !== undefined) throw new InterlockError('invalid_document', file, `${file}: ${fault}`);
  return document;
}

/** What the document says that cannot be meant. */
function faultIn({ workloads, inbound, outbound, intercept }: NodeProxyDocument): string | undefined {
  if (inbound.length + outbound.length === 0 && intercept === undefined)
    return 'a node proxy has an inbound or an outbound route, or intercepts';
  const ids = new Set(workloads.map(({ id }) => id));
  if (ids.size < workloads.length) return 'a workload is listed twice';
  const marks = workloads.flatMap(({ mark }) => mark ?? []);
  if (new Set(marks).size < marks.length) return 'two workloads have one mark';
  for (const { forward } of inbound)
    if (!isIP(forward.host))
      return `"forward: ${textOf(forward)}" has no address: the kernel is asked who listens there`;
  for (const { workload: id, listen } of inbound)
    if (!ids.has(id))
      return `the inbound route at ${textOf(listen)} is of ${id}, which is not listed in workloads`;
  for (const routes of portsOf(inbound).values()) {
    const fault = sharedFault(routes);
    if (fault !== undefined) return fault;
  }
  if (outbound.some(({ listen }) => listen === undefined) && intercept === undefined)
    return 'an outbound route without "listen" is reached through "intercept", which is missing';
  const seen = new Set<string>();
  for (const { destinations } of outbound)
    for (const destination of destinations) {
      const text = textOf(destination);
      // A name is nothing that a redirected connection still knows.
      if (intercept !== undefined && !isIP(destination.host)) {
        if (isNamed(destination, outbound)) continue;
        return `the destination ${text} is no address: redirected connections are told apart by addresses`;
      }
      if (intercept !== undefined && seen.has(text))
        return `two outbound routes have the destination ${text}`;
      seen.add(text);
    }
  return undefined;
}

/** Whether a destination stands there only because `to` is a name, on a route that has a port of its own. */
function isNamed(destination: Address, outbound: readonly NodeOutboundRoute[]): boolean {
  return outbound.some(({ to, listen }) => to === destination && listen !== undefined);
}

function sharedFault(routes: readonly NodeInboundRoute[]): string | undefined {
  const [first] = routes;
  if (first === undefined) return undefined;
  const where = textOf(first.listen);
  const isShared = routes.length > 1 || first.destination !== undefined;
  if (!isShared) return undefined;
  if (routes.filter(({ destination }) => destination === undefined).length > 1)
    return `two routes at ${where} have no "destination" to tell them apart`;
  if (
    routes.some(
      ({ trustProxyHeader: trust }) => JSON.stringify(trust) !== JSON.stringify(first.trustProxyHeader),
    )
  )
    return `the routes at ${where} trust different peers with a PROXY header: one port believes the same ones`;
  if ((first.trustProxyHeader?.addresses ?? []).length === 0)
    return `the routes at ${where} are told apart by a PROXY header: "trustProxyHeader.addresses" says whose`;
  const named = routes.map(({ destination }) => JSON.stringify(destination));
  if (new Set(named).size < named.length) return `two routes at ${where} have one destination`;
  return undefined;
}

/** Routes by where they listen, in the order of the document. */
export function portsOf<T extends { readonly listen: Address }>(
  routes: readonly T[],
): ReadonlyMap<string, readonly T[]> {
  return Map.groupBy(routes, ({ listen }) => textOf(listen));
}

/** HOST:PORT, as written. */
export function textOf({ host, port: number }: Address): string {
  return host.includes(':') ? `[${host}]:${number}` : `${host}:${number}`;
}
