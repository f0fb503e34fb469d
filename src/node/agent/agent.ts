import { Server } from '@grpc/grpc-js';
import { type InterlockError, isInterlockError, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import type { KeyAlgorithm, WorkloadAttributes } from '../../identity/index.ts';
import {
  type BundleState,
  delegated,
  grpcService,
  health,
  sds,
  SpiffeWorkloadAPI,
} from '../../proto/index.ts';
import { Addresses, controlPlaneOf } from '../../workload/index.ts';
import type { ApiLog, Callers } from '../api/callers.ts';
import { delegatedApi } from '../api/delegated.ts';
import { limitedLog } from '../api/limited-log.ts';
import { NoIdentityLog } from '../api/no-identity-log.ts';
import { sdsApi } from '../api/sds/sds.ts';
import { workloadApi } from '../api/workload-api.ts';
import { type AttestorOptions, Turns, WorkloadAttestor } from '../attestation/index.ts';
import { Link } from '../link/link.ts';
import type { ServerTrust } from '../link/server-trust.ts';
import {
  attest,
  AttestationRefused,
  type NodeEvidence,
  type ServerAccess,
  streamOpener,
} from '../link/transport.ts';
import {
  addReflection,
  type Caller,
  CallLimit,
  type GrpcSocket,
  HealthService,
  serveGrpc,
  SOCKET_SERVER_OPTIONS,
} from '../socket/index.ts';
import { AgentState } from '../state/agent-state.ts';
import { KeptHashes } from '../state/kept-hashes.ts';
import { SvidCache } from '../svids/svid-cache.ts';
import { type LiveProcess, openProcess } from '../../system/index.ts';
import type { Timers } from '../timers.ts';
import { JwtCache } from '../workloads/jwt-cache.ts';
import { fitting } from '../workloads/fitting.ts';
import { WorkloadBook } from '../workloads/workload-book.ts';
import { callersOf } from './callers-of.ts';
import { Knowledge } from './knowledge.ts';
import { isRefusalOfAgent, OwnIdentity } from './own-identity.ts';
import { jwtSigning, x509Signing } from './signing.ts';

export interface AgentOptions {
  readonly version: string;
  /** Private to the agent: keys are kept there. */
  readonly stateDir: string;
  /** HOST:PORT of the control plane; several where it runs in several places, which are tried in turn. */
  readonly server: string | readonly string[];
  /** What is trusted before the first attestation. Asked only then. */
  readonly firstTrust: () => Promise<ServerTrust>;
  /** The control plane's own ID, for a node that has no identity; absent: what `firstTrust` gives, or the root's. */
  readonly serverId?: SpiffeId | undefined;
  readonly evidence: NodeEvidence;
  /** Where the Workload API and SDS are served. */
  readonly socketPath: string;
  /** Where the Delegated Identity API is served; absent: nowhere. */
  readonly adminSocketPath?: string | undefined;
  /** Who may use the Delegated Identity API. */
  readonly delegates: ReadonlySet<SpiffeId>;
  readonly attestor: AttestorOptions;
  /** Keys of workloads. */
  readonly algorithm: KeyAlgorithm;
  readonly timers: Timers;
  readonly log: ApiLog;
}

/** Everyone may connect to the workloads' socket: who it is decides what they get. */
const WORKLOAD_SOCKET_MODE = 0o777;
/** The owner and his group, as SPIRE has it: a delegate that is another user is let in by the group. */
const ADMIN_SOCKET_MODE = 0o660;
/** What a question about health may name; "" is the agent as a whole. */
const SERVICES = [
  '',
  SpiffeWorkloadAPI.typeName,
  sds.SecretDiscoveryService.typeName,
  delegated.DelegatedIdentity.typeName,
];
/** Callers that are attested at once, and of one tenant: each costs open files, and a megabyte while a program is hashed. */
const MAX_ATTESTATIONS = 64;
const MAX_ATTESTATIONS_EACH = 8;
/** How long rules may be in force before they are on disk. */
const SAVE_RULES_MS = 500;
/** How long streams may take to end when the agent stops. */
const GRACE_MS = 500;

/** What an agent says of itself. */
export interface AgentStatus {
  readonly spiffeId: SpiffeId | undefined;
  readonly online: boolean;
  /** Why it is not online. */
  readonly reason: string | undefined;
  readonly workloads: number;
  readonly svids: { readonly held: number; readonly wanted: number; readonly waiting: number };
}

/** A node's agent: attests the node and its workloads, and serves each of them what is its own. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #addresses: Addresses;
  readonly #state: AgentState;
  readonly #knowledge: Knowledge;
  readonly #own: OwnIdentity;
  readonly #link: Link;
  readonly #svids: SvidCache;
  readonly #workloads: WorkloadBook;
  readonly #jwts: JwtCache;
  readonly #attestor: WorkloadAttestor;
  readonly #turns = new Turns(MAX_ATTESTATIONS, MAX_ATTESTATIONS_EACH);
  readonly #health = new HealthService();
  /** Trust domains of SVIDs that have moved, by their keys. */
  readonly #domains = new Map<string, string>();
  readonly #trustListeners = new Set<() => void>();
  readonly #noIdentity: NoIdentityLog;
  readonly #refused = Promise.withResolvers<InterlockError>();
  #firstTrust: ServerTrust | undefined;
  #reason: string | undefined = 'it has not connected yet';
  readonly #sockets: GrpcSocket[] = [];

  /** Reads the state from disk. Throws `io` where that cannot be used. */
  constructor(options: AgentOptions) {
    const { timers, algorithm } = options;
    const log = limitedLog(options.log, timers);
    this.#options = { ...options, log };
    this.#addresses = new Addresses(options.server, () => timers.random());
    this.#noIdentity = new NoIdentityLog(log, timers);
    this.#state = new AgentState(options.stateDir, (file, error) =>
      log.warn(
        { file, error },
        isInterlockError(error) && error.code === 'io'
          ? 'a file of the state could not be written or read: a restart goes on without it'
          : 'a file of the state is damaged and was left out',
      ),
    );
    this.#knowledge = new Knowledge(
      this.#state,
      (what, error) =>
        log.warn({ what, error }, 'something from the control plane cannot be used and was left out'),
      (save) => void timers.after(SAVE_RULES_MS, save),
    );
    const hashes = new KeptHashes(options.stateDir, (error) =>
      log.warn({ error }, 'hashes of executables cannot be kept: they are worked out anew after a restart'),
    );
    this.#attestor = new WorkloadAttestor({ ...options.attestor, hashes });
    this.#own = new OwnIdentity({
      timers,
      state: this.#state,
      log,
      algorithm: 'ec-p256',
      attest: () => this.#attest(),
      onBundles: (state) => this.#takeBundles(state),
    });
    this.#link = new Link({
      timers,
      version: options.version,
      open: async (handlers) => {
        const svid = await this.#own.ensure();
        return streamOpener(
          () => this.#access(),
          () => svid,
        )(handlers);
      },
      held: () => ({ rulesVersion: this.#knowledge.rulesVersion, serials: this.#svids.held() }),
      onRules: (state) => {
        this.#knowledge.takeRules(state);
        this.#jwts.renewAll();
        this.#workloads.rulesChanged();
        this.#link.confirm({ rulesVersion: this.#knowledge.rulesVersion });
      },
      onBundles: (state) => {
        this.#takeBundles(state);
        this.#trustChanged();
        this.#link.confirm({ bundlesVersion: this.#knowledge.bundlesVersion });
      },
      onRevocations: (state) => {
        this.#knowledge.takeRevocations(state);
        this.#revoke();
        this.#link.confirm({ revocationsVersion: this.#knowledge.revocationsVersion });
      },
      onReplace: (authority, overMs) => {
        const count = this.#svids.replaceAll(authority, overMs);
        // Tokens are asked for anew by those whose certificate is replaced: none of the withdrawn key is to be left.
        this.#jwts.renewAll();
        this.#own.replace(authority, overMs, this.#link);
        log.info({ authority, count, overMs }, "the authority's SVIDs are being replaced");
      },
      onOnline: (online, error) => this.#setOnline(online, error),
    });
    const isTarget = (domain: string) => this.#knowledge.trust().targets.includes(domain);
    this.#svids = new SvidCache({
      timers,
      store: this.#state.svids,
      sign: x509Signing(this.#link, algorithm, isTarget),
      onChange: (key) => {
        this.#forgetMoved(key);
        this.#workloads.svidChanged(key);
      },
      onDropped: (serials) => this.#link.dropped(serials),
      onRefused: ({ spiffeId, rule }, error) =>
        log.warn({ spiffeId, rule, error }, 'no SVID was signed for a workload'),
    });
    this.#jwts = new JwtCache(timers, jwtSigning(this.#link, isTarget));
    this.#workloads = new WorkloadBook({
      timers,
      svids: this.#svids,
      identitiesOf: (attributes) => this.#knowledge.identitiesOf(attributes),
      trust: () => this.#knowledge.trust(),
      isRevoked: (id) => this.#knowledge.isRevoked(id),
      onLimit: (fields, message) => log.warn(fields, message),
    });
  }

  /** Whether the node has an identity that is still valid. */
  get isAttested(): boolean {
    return this.#own.svid !== undefined;
  }

  /**
   * Resolves when the agent can do nothing more: it has no identity, serves none, and what it attests by is good once
   * and was refused. It is not tried again then.
   */
  get refused(): Promise<InterlockError> {
    return this.#refused.promise;
  }

  /** Serves the sockets and connects to the control plane, now and whenever the connection ends. */
  async start(): Promise<void> {
    const { socketPath, adminSocketPath, log } = this.#options;
    try {
      await this.#serve(socketPath, WORKLOAD_SOCKET_MODE, (server, callers) => {
        const parts = { ...this.#parts(), callers };
        server.addService(grpcService(SpiffeWorkloadAPI), workloadApi(parts));
        server.addService(grpcService(sds.SecretDiscoveryService), sdsApi(parts));
        addReflection(server, [SpiffeWorkloadAPI, sds.SecretDiscoveryService, health.Health]);
      });
      if (adminSocketPath !== undefined) {
        await this.#serve(adminSocketPath, ADMIN_SOCKET_MODE, (server, callers) => {
          const parts = { ...this.#parts(), callers };
          server.addService(grpcService(delegated.DelegatedIdentity), delegatedApi(parts));
          addReflection(server, [delegated.DelegatedIdentity, health.Health]);
        });
      }
    } catch (error) {
      await this.close();
      throw error;
    }
    log.info({ socketPath, adminSocketPath }, 'the agent serves');
    for (const service of SERVICES) this.#health.set(service, true);
    this.#link.start();
  }

  /** What the agent says of itself now. */
  status(): AgentStatus {
    return {
      spiffeId: this.#own.svid?.spiffeId,
      online: this.#link.online,
      reason: this.#reason,
      workloads: this.#workloads.size,
      svids: this.#svids.counts(),
    };
  }

  /** Stops to serve. What is on disk stays for the next start. */
  async close(): Promise<void> {
    for (const service of SERVICES) this.#health.set(service, false);
    this.#own.close();
    this.#link.close();
    this.#svids.close();
    this.#knowledge.flush();
    await Promise.all(this.#sockets.map((socket) => socket.close(GRACE_MS)));
  }

  async #serve(path: string, mode: number, add: (server: Server, callers: Callers) => void): Promise<void> {
    const { log } = this.#options;
    let socket: GrpcSocket | undefined;
    const tenantOf = (peer: string) => socket?.callerOf({ getPeer: () => peer }).tenant ?? '';
    const calls = new CallLimit(tenantOf);
    const server = new Server({ ...SOCKET_SERVER_OPTIONS, interceptors: [calls.interceptor] });
    const attributesOf = ({ process, credentials, tenant }: Caller) =>
      this.#turns.take(tenant, () => this.#attributesOf(process, credentials));
    add(
      server,
      callersOf(path, () => socket, attributesOf),
    );
    this.#health.addTo(server, tenantOf);
    socket = await serveGrpc(path, server, {
      mode,
      onFault: (fault) => log.warn({ ...fault }, 'a connection to the socket was refused'),
    });
    this.#sockets.push(socket);
  }

  #parts() {
    const { timers, log, delegates } = this.#options;
    return {
      workloads: this.#workloads,
      jwts: this.#jwts,
      timers,
      log,
      delegates,
      onNoIdentity: (pid: number | undefined, attributes: WorkloadAttributes) =>
        this.#noIdentity.tell(pid, attributes),
      trust: () => {
        const { bundles, trustDomain, targets } = this.#knowledge.trust();
        return fitting(bundles, new Set([trustDomain, ...targets])).bundles;
      },
      onTrust: (listener: () => void) => {
        this.#trustListeners.add(listener);
        return () => void this.#trustListeners.delete(listener);
      },
      attributesOfPid: async (pid: number) => {
        const process = openProcess(pid);
        try {
          return await this.#attributesOf(process);
        } finally {
          process.close();
        }
      },
    };
  }

  async #attributesOf(
    process: LiveProcess,
    connected?: { uid: number; gid: number },
  ): Promise<WorkloadAttributes> {
    const { attributes, faults } = await this.#attestor.attest(process, connected);
    for (const { part, reason } of faults) {
      this.#options.log.warn({ pid: process.pid, part, reason }, 'a part of the attestation found nothing');
    }
    return attributes;
  }

  #access(): ServerAccess {
    const { bundles, crls, trustDomain, local } = this.#knowledge.trust();
    const { serverId, timers } = this.#options;
    const address = this.#addresses.current;
    const own = bundles.get(trustDomain);
    const { id } = this.#own;
    // The control plane is of the agent's own trust domain, and the one that gave it its SVID: no federated one, and no
    // child authority of the same root, may stand in for it.
    const trust =
      own === undefined
        ? (this.#firstTrust ?? { bundles: new Map() })
        : {
            // What other regions have added speaks for them, and for no control plane of this node.
            bundles: new Map([[trustDomain, local ?? own]]),
            server: id === undefined ? (this.#firstTrust?.server ?? serverId) : controlPlaneOf(id),
          };
    return { address, trust, crls, now: () => timers.now() };
  }

  async #attest() {
    if (this.#knowledge.trust().trustDomain === '') this.#firstTrust = await this.#options.firstTrust();
    return attest(this.#access(), this.#options.evidence);
  }

  #setOnline(online: boolean, error: Error | undefined): void {
    const { log, evidence } = this.#options;
    const server = this.#addresses.current;
    this.#reason = online ? undefined : (error?.message ?? 'the control plane ended the connection');
    this.#health.set('interlock.agent.v1.AgentService', online);
    this.#svids.setOnline(online);
    if (online) {
      log.info({ server }, 'connected to the control plane');
      // What it has from before is not sent again, and has to be confirmed all the same.
      const { rulesVersion, bundlesVersion, revocationsVersion } = this.#knowledge;
      this.#link.confirm({ rulesVersion, bundlesVersion, revocationsVersion });
      this.#own.renewOver(this.#link);
      return;
    }
    log.warn({ server, error }, `not connected to the control plane: ${this.#reason}`);
    this.#addresses.next();
    if (error instanceof AttestationRefused && evidence.once === true && !this.#isOfUse) {
      this.#link.close();
      this.#refused.resolve(error);
      return;
    }
    if (isRefusalOfAgent(error) && this.#own.svid !== undefined && isInterlockError(error)) {
      // Evicted, or unknown there: only a new attestation helps.
      log.warn({ server, code: error.code }, "the agent's SVID is not accepted: it is attested anew");
      this.#own.doubt();
    }
  }

  /** Has an identity, or SVIDs from before that workloads can be given until they end. */
  get #isOfUse(): boolean {
    return this.isAttested || this.#svids.counts().held > 0;
  }

  #takeBundles(state: BundleState): void {
    const { trustDomain } = this.#knowledge.trust();
    this.#knowledge.takeBundles(state);
    // The same rules give other IDs now.
    if (this.#knowledge.trust().trustDomain !== trustDomain) this.#workloads.rulesChanged();
  }

  /** A workload has one ID at a time: tokens of the one before a move are not given after it. */
  #forgetMoved(key: string): void {
    const svid = this.#svids.get(key);
    if (typeof svid === 'string') return;
    const domain = trustDomainOf(svid.spiffeId);
    const before = this.#domains.get(key) ?? this.#knowledge.trust().trustDomain;
    if (domain === this.#knowledge.trust().trustDomain) this.#domains.delete(key);
    else this.#domains.set(key, domain);
    if (domain !== before) this.#jwts.forget(key);
  }

  #trustChanged(): void {
    // Before workloads are told of the new trust: nobody is served an ID of a domain that is not this estate's.
    const { trustDomain, targets } = this.#knowledge.trust();
    const own = new Set([trustDomain, ...targets]);
    this.#jwts.renewAll(({ spiffeId }) => own.has(trustDomainOf(spiffeId)));
    this.#svids.revoke(({ spiffeId }) => !own.has(trustDomainOf(spiffeId)));
    this.#workloads.trustChanged();
    for (const listener of this.#trustListeners) listener();
  }

  #revoke(): void {
    const knowledge = this.#knowledge;
    this.#jwts.clear();
    const svids = this.#svids;
    svids.revoke(
      ({ spiffeId, authority, serial }) =>
        !knowledge.isRevoked(spiffeId) && knowledge.isRevokedSerial(authority, serial),
    );
    // A workload whose only identity is revoked is told that it has none, and not that it is still to be signed.
    this.#workloads.rulesChanged();
    svids.revoke(({ spiffeId }) => knowledge.isRevoked(spiffeId));
  }
}
