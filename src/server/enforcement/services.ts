import type { Server } from '@grpc/grpc-js';
import { InterlockError } from '../../access/index.ts';
import { grpcService } from '../../proto/index.ts';
import { ProxyService } from '../../proto/proxy/index.ts';
import { accessLogService } from '../../sources/envoy/als/index.ts';
import type { AgentListener, PeerIdentity } from '../agents/listener.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Timers } from '../timers.ts';
import type { Enforcing } from './enforcing.ts';
import { AccessLogServer } from './als-service.ts';
import { addEnvoyService } from './envoy/service.ts';
import { ProxyServer, type ProxyServiceOptions } from './proxy-service.ts';

export interface EnforcementServicesOptions {
  readonly plane: ControlPlane;
  readonly enforcing: Enforcing;
  readonly timers: Timers;
  readonly onPointEvent: ProxyServiceOptions['onPointEvent'];
}

/** Adds the services of enforcement points to the control plane's port. Gives what ends their watch over revocations. */
export function addEnforcementServices(
  { plane, enforcing, timers, onPointEvent }: EnforcementServicesOptions,
  server: Server,
  listener: () => AgentListener,
): () => void {
  const { hub, evidence } = enforcing;
  const isRevoked = ({ spiffeId, serial }: PeerIdentity) => {
    const { spiffeIds, serials } = plane.registry.revocations.current.value;
    return spiffeIds.has(spiffeId) || serials.has(serial);
  };
  const callerOf = (call: { getPeer(): string }): PeerIdentity => {
    const peer = listener().peerOf(call);
    if (peer?.fault !== undefined) throw peer.fault;
    if (peer?.identity === undefined)
      throw new InterlockError(
        'untrusted',
        peer?.address ?? 'unknown',
        'a proxy shows its SVID: none was shown',
      );
    if (isRevoked(peer.identity) || peer.identity.notAfter <= timers.now())
      throw new InterlockError(
        'untrusted',
        peer.identity.spiffeId,
        `the SVID of ${peer.identity.spiffeId} is over or revoked`,
      );
    return peer.identity;
  };
  const proxies = new ProxyServer({
    hub,
    timers,
    callerOf,
    mayServe: (identity, workload) => enforcing.mayServe(identity, workload),
    onLocalReleases: (point, releases) => enforcing.releasedHere(point.key, releases),
    onReport: (point, report) => evidence.take(point, report),
    onPointEvent,
  });
  server.addService(grpcService(ProxyService), proxies.implementation());
  const envoys = addEnvoyService({ plane, enforcing, timers, callerOf, onPointEvent }, server);
  const logs = new AccessLogServer({
    timers,
    callerOf,
    mayServe: (identity, workload) => enforcing.mayServe(identity, workload),
    onLogged: (reporter, reported) => evidence.add(reporter, reported),
    onPointEvent,
  });
  server.addService(accessLogService, logs.implementation());
  const unsubscribe = plane.registry.revocations.subscribe(() => {
    proxies.endWhere(isRevoked);
    logs.endWhere(isRevoked);
    const { spiffeIds } = plane.registry.revocations.current.value;
    envoys.endWhere((identity) => spiffeIds.has(identity));
  });
  return () => {
    unsubscribe();
    envoys.close();
  };
}
