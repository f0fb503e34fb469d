import { z } from 'zod';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { API_VERSION } from '../../policy/index.ts';
import { AUTHENTICATION_STAGES, type AuthenticationStage } from '../../rollout/index.ts';
import { DEFAULT_TIMEOUTS, type Timeouts } from '../settings.ts';
import type { OutboundUsers } from '../outbound/users.ts';
import type { InboundRoute, OutboundRoute } from '../types.ts';
import {
  address,
  header,
  MAX_ROUTES,
  outboundUsers,
  port,
  protocol,
  readDocument,
  timeouts,
  trustProxyHeader,
  workload,
} from './document-fields.ts';

export const PROXY_KIND = 'Proxy';

const schema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(PROXY_KIND),
  metadata: z.strictObject({ name: z.string().min(1).max(253) }),
  spec: z.strictObject({
    workload: workload.optional(),
    authentication: z.enum(AUTHENTICATION_STAGES).default('permissive'),
    inbound: z
      .array(
        z.strictObject({
          workload: workload.optional(),
          listen: address,
          forward: address,
          port: port.optional(),
          protocol,
          programSpeaks: z.literal('h2').exactOptional(),
          serverFirst: z.boolean().exactOptional(),
          trustProxyHeader: trustProxyHeader.exactOptional(),
          sendProxyHeader: header.exactOptional(),
        }),
      )
      .max(MAX_ROUTES)
      .default([]),
    outbound: z
      .array(
        z.strictObject({
          workload: workload.optional(),
          listen: address,
          to: address,
          peer: workload,
          protocol,
          sendProxyHeader: header.exactOptional(),
        }),
      )
      .max(MAX_ROUTES)
      .default([]),
    outboundUsers: outboundUsers.default([]),
    timeouts,
  }),
});

/** A Proxy document, read. */
export interface ProxyDocument {
  readonly name: string;
  /** Absent: the only workload that the Workload API gives. */
  readonly workload?: SpiffeId;
  /** How connections are taken until a control plane has said so. */
  readonly authentication: AuthenticationStage;
  readonly inbound: readonly (Omit<InboundRoute, 'workload'> & { readonly workload?: SpiffeId })[];
  readonly outbound: readonly OutboundRoute[];
  /** Who may use the outbound routes beside the proxy's own user and root. */
  readonly outboundUsers: OutboundUsers;
  readonly timeouts: Timeouts;
}

/** Reads one Proxy document, YAML or JSON. Throws `invalid_document` naming the field, `limit`. */
export function readProxyDocument(text: string, file: string): ProxyDocument {
  const { metadata, spec } = readDocument(text, file, PROXY_KIND, schema);
  if (spec.inbound.length + spec.outbound.length === 0)
    throw new InterlockError(
      'invalid_document',
      file,
      `${file}: a proxy has an inbound or an outbound route`,
    );
  for (const { listen, protocol: served, serverFirst = false } of spec.inbound)
    if (serverFirst && served !== 'tcp')
      throw new InterlockError(
        'invalid_document',
        file,
        `${file}: the program behind port ${listen.port} cannot speak first in HTTP: say "protocol: tcp"`,
      );
  return {
    name: metadata.name,
    ...(spec.workload === undefined ? {} : { workload: spec.workload }),
    authentication: spec.authentication,
    inbound: spec.inbound.map(({ workload: own, port: policyPort, ...route }) => ({
      ...route,
      port: policyPort ?? route.forward.port,
      ...(own === undefined ? {} : { workload: own }),
    })),
    outbound: spec.outbound.map(({ workload: own, ...route }) => ({
      ...route,
      ...(own === undefined ? {} : { workload: own }),
    })),
    outboundUsers: spec.outboundUsers,
    timeouts: { ...DEFAULT_TIMEOUTS, ...spec.timeouts },
  };
}
