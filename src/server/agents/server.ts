import { Server, type ServerInterceptor } from '@grpc/grpc-js';
import { verifyX509Svid } from '../../identity/index.ts';
import { AgentService as AgentServiceProto, grpcService } from '../../proto/index.ts';
import type { AgentLink, ControlPlane } from '../identity/control-plane.ts';
import { newServerIdentity } from '../identity/server-identity.ts';
import type { Timers } from '../timers.ts';
import { AgentListener, type PeerIdentity, type ServerIdentity } from './listener.ts';
import { type AgentEvent, AgentService } from './service.ts';

/** Largest message from an agent: what it asks is small. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Calls at one time over one connection: a proxy has some ten streams. */
const MAX_STREAMS = 1000;
/** How long agents may take to leave, and how far their return is spread, when the control plane stops. */
const DRAIN_MS = 2000;
const RETURN_MS = 10_000;
/** When the renewal of the own SVID is tried again. */
const RETRY_MS = 10_000;

export interface AgentServerOptions {
  readonly plane: ControlPlane;
  readonly timers: Timers;
  readonly host: string;
  readonly port: number;
  readonly onEvent: (event: AgentEvent) => void;
  readonly onRefused: (address: string, reason: string) => void;
  readonly onLeft?: (() => void) | undefined;
  /** Addresses behind which many stand; see `AgentListener`. */
  readonly isExempt?: ((address: string) => boolean) | undefined;
  readonly onFault: (error: unknown) => void;
  /** An agent has come, gone or confirmed a state. */
  readonly onChange: () => void;
  /** The control plane has a new SVID of its own. */
  readonly onIdentity?: (identity: ServerIdentity) => void;
  /** Around every call: what measures them. */
  readonly interceptors?: readonly ServerInterceptor[] | undefined;
  /** Adds further services to the same port, for callers that show an SVID. */
  readonly addServices?: (server: Server, listener: () => AgentListener) => void;
}

/** The agents' side of the control plane, listening. */
export interface AgentServer {
  readonly port: number;
  readonly service: AgentService;
  readonly crowds: AgentListener['crowds'];
  /** Asks agents to leave, waits for them a little, and ends. */
  stop(): Promise<void>;
  /** Ends at once, as a crash would. */
  kill(): void;
}

/** Starts the agents' gRPC service with the control plane's own SVID. Throws `io` where the port is taken. */
export async function startAgentServer(options: AgentServerOptions): Promise<AgentServer> {
  const { plane, timers, host, port } = options;
  const { desk, registry } = plane;
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    ...(options.interceptors === undefined ? {} : { interceptors: [...options.interceptors] }),
  });
  const first = await newServerIdentity(plane, timers.now());
  const listener = new AgentListener({
    host,
    port,
    identity: first.identity,
    server,
    timers,
    verify: (chain) => verifiedPeer(plane, chain, timers.now()),
    onRefused: options.onRefused,
    onLeft: options.onLeft,
    isExempt: options.isExempt,
  });
  const service = new AgentService({
    desk,
    timers,
    listener: () => listener,
    onChange: options.onChange,
    onEvent: options.onEvent,
  });
  server.addService(grpcService(AgentServiceProto), service.implementation());
  options.addServices?.(server, () => listener);
  plane.link = linkOf(service);
  const own = keepOwnIdentity(options, listener, first);
  options.onIdentity?.(first.identity);
  plane.replicas.setSerial(first.serial);
  const bound = await listener.listen();
  const unsubscribe = registry.slots.subscribe(() => own.look());
  const kill = () => {
    unsubscribe();
    own.stop();
    listener.closeAll();
    server.forceShutdown();
  };
  return {
    port: bound,
    service,
    crowds: listener.crowds,
    kill,
    async stop() {
      listener.stopListening();
      service.drain(RETURN_MS);
      await new Promise<void>((resolve) => {
        const cancel = timers.after(DRAIN_MS, resolve);
        if (service.connected().length === 0) {
          cancel();
          resolve();
        }
      });
      kill();
    },
  };
}

function verifiedPeer(plane: ControlPlane, chain: readonly Buffer[], now: number): PeerIdentity {
  const { registry } = plane;
  const { crls, spiffeIds } = registry.revocations.current.value;
  const verified = verifyX509Svid(chain, {
    // Another region's agents have the same names: they are none of this control plane.
    bundles: new Map([[registry.domain.trustDomain, registry.bundles.current.value.local]]),
    now,
    crls: [...crls.values()],
    revokedIds: spiffeIds,
  });
  const serial = verified.chain[0]?.serial ?? '';
  return { spiffeId: verified.spiffeId, serial, notAfter: verified.expiresAt };
}

function linkOf(service: AgentService): AgentLink {
  return {
    agents: () =>
      service.connected().map(({ id, confirmed, takesTargets }) => ({ id, ...confirmed, takesTargets })),
    oldestBundles: () => service.confirmedByAll()?.bundles,
    behind: (version) =>
      service.connected().flatMap(({ id, confirmed }) => (confirmed.bundles < version ? [id] : [])),
    withoutTargets: () =>
      new Set(service.connected().flatMap(({ id, takesTargets }) => (takesTargets ? [] : [id]))),
    replace: (replacement) => service.replace(replacement),
    disconnect: (id, error) => service.disconnect(id, error),
  };
}

/** Renews the control plane's own SVID at half of its life, and when the authority that signed it is withdrawn. */
function keepOwnIdentity(
  { plane, timers, onFault, onIdentity }: AgentServerOptions,
  listener: AgentListener,
  first: Awaited<ReturnType<typeof newServerIdentity>>,
) {
  let current = first;
  let cancel = () => {};
  let stopped = false;
  let renewing = false;
  const arm = (at: number) => {
    cancel();
    if (!stopped) cancel = timers.after(at - timers.now(), () => void renew());
  };
  const renew = async () => {
    if (renewing) return;
    renewing = true;
    try {
      current = await newServerIdentity(plane, timers.now(), current.serial);
      if (stopped) return;
      listener.setIdentity(current.identity);
      onIdentity?.(current.identity);
      plane.replicas.setSerial(current.serial);
      arm(current.renewAt);
    } catch (error) {
      onFault(error);
      arm(timers.now() + RETRY_MS);
    } finally {
      renewing = false;
    }
  };
  arm(first.renewAt);
  return {
    look() {
      const slot = plane.authorities.slots.find(({ id }) => id === current.authority);
      if (slot === undefined || slot.taintedAt !== undefined) void renew();
    },
    stop() {
      stopped = true;
      cancel();
    },
  };
}
