import type { Server } from '@grpc/grpc-js';
import { InterlockError, type SpiffeId } from '../../../access/index.ts';
import { AdsServer, adsService, type ProxyStatus } from '../../../xds/index.ts';
import type { PeerIdentity } from '../../agents/listener.ts';
import type { ControlPlane } from '../../identity/control-plane.ts';
import type { Timers } from '../../timers.ts';
import type { Enforcing } from '../enforcing.ts';
import type { ProxyServiceOptions } from '../proxy-service.ts';
import { EnvoySnapshots } from './snapshots.ts';

export interface EnvoyServiceOptions {
  readonly plane: ControlPlane;
  readonly enforcing: Enforcing;
  readonly timers: Timers;
  readonly callerOf: (call: { getPeer(): string }) => PeerIdentity;
  readonly onPointEvent: ProxyServiceOptions['onPointEvent'];
}

/** The Envoys' side of enforcement: their configuration over ADS, and what they confirmed or refused of it. */
export interface EnvoyService {
  /** Ends the streams of identities that are no longer good. */
  endWhere(isBad: (identity: SpiffeId) => boolean): void;
  close(): void;
}

/** Adds the aggregated discovery service to the control plane's port. */
export function addEnvoyService(options: EnvoyServiceOptions, server: Server): EnvoyService {
  const { plane, enforcing, timers, callerOf, onPointEvent } = options;
  const { hub, documents } = enforcing;
  const snapshots = new EnvoySnapshots({
    hub,
    documents,
    timers,
    mayServe: (identity, workload) => enforcing.mayServe(identity, workload),
    trustDomains: () => [...plane.registry.bundles.current.value.bundles.keys()],
    onFault: (key, error) => onPointEvent('fault', key, error),
  });
  const stopListening = documents.onChange((workload) => {
    snapshots.changed(workload);
    hub.changed(workload);
  });
  const ads = new AdsServer({
    source: snapshots,
    clock: timers,
    identify: (call) => callerOf(call).spiffeId,
    onEvent: ({ event, who, detail, error }) => {
      if (event === 'connected') onPointEvent('connected', who);
      else if (event === 'left') onPointEvent('disconnected', who);
      else onPointEvent('refused', detail === undefined ? who : `${who}: ${detail}`, error);
    },
  });
  ads.onStatus((status) => follow(status, snapshots, enforcing));
  server.addService(adsService, ads.implementation());
  return {
    endWhere: (isBad) =>
      ads.end(
        ({ spiffeId }) => isBad(spiffeId),
        new InterlockError(
          'untrusted',
          'control plane',
          'the SVID is over or revoked: connect again with a new one',
        ),
      ),
    close() {
      stopListening();
      ads.close();
    },
  };
}

function follow(
  { node, confirmed, state, perType }: ProxyStatus,
  snapshots: EnvoySnapshots,
  { hub }: Enforcing,
): void {
  const connection = snapshots.connectionOf(node);
  if (connection === undefined) return;
  const { key, link } = connection;
  if (confirmed !== undefined) hub.confirm(key, confirmed, link);
  if (state !== 'refused') return;
  for (const [kind, { refused }] of perType)
    if (refused !== undefined) hub.refuse(key, 'nack', `${kind}: ${refused.message}`);
}
