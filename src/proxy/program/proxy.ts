import { durationOf, type InterlockError, type SpiffeId } from '../../access/index.ts';
import type { AuthenticationStage, Enforcement } from '../../rollout/index.ts';
import type { Clock, X509View } from '../../workload/index.ts';
import type { StreamHandlers, ControlStream } from '../control/connect.ts';
import { Governor } from '../control/governor.ts';
import type { Policies } from '../control/policies.ts';
import type { StateFiles } from '../control/state-files.ts';
import { type Counters, newCounters } from '../counters.ts';
import type { Spool } from '../evidence/spool.ts';
import type { InboundContext, LogLine } from '../inbound/connection.ts';
import { InboundListener } from '../inbound/listener.ts';
import { http2Server } from '../http2/inbound.ts';
import { http2Outbound } from '../http2/outbound.ts';
import { ProgramSessions } from '../http2/program-sessions.ts';
import { OutboundListener } from '../outbound/listener.ts';
import { limitedLog } from '../log-limit.ts';
import { Uplinks } from '../outbound/uplinks.ts';
import { guardOf, type OutboundGuard, type OutboundUsers } from '../outbound/users.ts';
import type { Timeouts } from '../settings.ts';
import type { InboundRoute, OutboundRoute } from '../types.ts';
import { Verdicts } from '../verdicts/verdicts.ts';
import { metricsText } from './metrics.ts';
import type { PortParts, Ports } from './ports.ts';

/** What an open connection that is no longer allowed is given where the policy does not say; milliseconds. */
const GRACE_MS = 30_000;

export interface ProxyOptions {
  readonly instance: string;
  readonly version: string;
  /** The identities of the workloads behind this proxy that are there from the start. */
  readonly sources: ReadonlyMap<SpiffeId, X509View>;
  /** The workloads behind this proxy; those of `sources` where absent. */
  readonly workloads?: readonly SpiffeId[] | undefined;
  /** Takes connections beside the routes: a node proxy's. */
  readonly openPorts?: ((parts: PortParts) => Promise<Ports>) | undefined;
  readonly inbound: readonly InboundRoute[];
  readonly outbound: readonly OutboundRoute[];
  /** Who may use the outbound routes beside this process' user and root; nobody where absent. */
  readonly outboundUsers?: OutboundUsers | undefined;
  readonly timeouts: Timeouts;
  readonly authentication: AuthenticationStage;
  readonly files: StateFiles;
  readonly spool: Spool;
  readonly clock: Clock;
  /** Opens the stream to the control plane; absent where there is none. */
  readonly openStream?: ((handlers: StreamHandlers) => ControlStream) | undefined;
  readonly onLine: (line: LogLine) => void;
  readonly onOnline: (online: boolean, why?: InterlockError) => void;
  readonly onFault: (error: unknown) => void;
}

/** What the proxy says of itself. */
export interface ProxyStatus {
  readonly instance: string;
  readonly workloads: readonly SpiffeId[];
  readonly stateVersion: number;
  readonly online: boolean;
  readonly draining: boolean;
  readonly spooled: number;
  readonly connections: number;
  readonly counters: Counters;
  readonly judgeFaults: number;
  /** The first of its SVIDs to end, milliseconds since 1970 UTC. */
  readonly svidEnds: number;
  /** What a node proxy knows beyond that. */
  readonly node?: object;
}

/** The built-in proxy: its listeners, its policies, and its way to the control plane. */
export class Proxy {
  readonly #options: ProxyOptions;
  readonly #governor: Governor;
  readonly #log: (line: LogLine) => void;
  readonly #verdicts: Verdicts;
  readonly #counters = newCounters();
  readonly #uplinks: Uplinks;
  readonly #programs: ProgramSessions;
  readonly #inbound: InboundListener[] = [];
  readonly #outbound: OutboundListener[] = [];
  readonly #workloads: readonly SpiffeId[];
  #ports: Ports | undefined;
  #guard: OutboundGuard | undefined;
  #draining = false;

  private constructor(options: ProxyOptions) {
    this.#options = options;
    const { clock, sources, timeouts } = options;
    const workloads = options.workloads ?? [...sources.keys()];
    this.#workloads = workloads;
    this.#log = limitedLog(options.onLine, clock);
    // One that fails for a request fails for every one like it: callers must not fill the log with it.
    this.#verdicts = new Verdicts(
      (error) =>
        this.#log({ event: 'fault', reason: error instanceof Error ? error.message : String(error) }),
      () => clock.now(),
    );
    this.#governor = new Governor({
      ...options,
      workloads,
      replace: (enforcements) => this.#verdicts.replace(enforcements),
    });
    this.#uplinks = new Uplinks({
      sources,
      clock,
      timeouts,
      onUnreached: (workload, { peer, to }, { code, message: detail }) => {
        const reason = code === 'unavailable' ? 'unreachable' : 'untrusted';
        this.#counters.unreached++;
        this.#governor.recorder.unreached({ workload, peer, to, reason, detail, at: clock.now() });
      },
    });
    this.#programs = new ProgramSessions(clock, timeouts);
    // In the next turn: by then the new state is the one that the policies have.
    this.#verdicts.onReplace(() =>
      queueMicrotask(() => {
        for (const [i, listener] of this.#inbound.entries())
          listener.rejudge(graceOf(this.policies.enforcements, options.inbound[i]?.workload));
        this.#ports?.rejudge((workload) => graceOf(this.policies.enforcements, workload));
      }),
    );
  }

  /** Opens every port, from the last state on disk; the control plane may come later. Throws the system's error, as `io`. */
  static async open(options: ProxyOptions): Promise<Proxy> {
    const proxy = new Proxy(options);
    try {
      await proxy.#listen();
    } catch (error) {
      await proxy.close();
      throw error;
    }
    proxy.#governor.start();
    return proxy;
  }

  /** What it enforces, and the button. */
  get policies(): Policies {
    return this.#governor.policies;
  }

  /** Where the inbound routes and the outbound ones listen, in their order. */
  get addresses() {
    return {
      inbound: [...this.#inbound.map(({ address }) => address), ...(this.#ports?.addresses.inbound ?? [])],
      outbound: [...this.#outbound.map(({ address }) => address), ...(this.#ports?.addresses.outbound ?? [])],
    };
  }

  get status(): ProxyStatus {
    const { instance, sources } = this.#options;
    const held = [...sources.values(), ...(this.#ports?.identities ?? [])];
    const ends = held.map(({ state }) => state.svid.expiresAt);
    const node = this.#ports?.details;
    return {
      instance,
      workloads: this.#workloads,
      stateVersion: this.policies.version,
      online: this.#governor.online,
      draining: this.#draining,
      spooled: this.#governor.spooled,
      connections: [...this.#inbound, ...this.#outbound].reduce(
        (sum, { size }) => sum + size,
        this.#ports?.size ?? 0,
      ),
      counters: { ...this.#counters },
      judgeFaults: this.#verdicts.faults,
      svidEnds: Math.min(...ends),
      ...(node === undefined ? {} : { node }),
    };
  }

  get metrics(): string {
    return metricsText(this.status);
  }

  /** Takes nothing new, lets what is open end, cuts what is left after `withinMs`, and sends the last evidence. */
  async drain(withinMs: number): Promise<void> {
    this.#draining = true;
    const listeners = [
      ...this.#inbound,
      ...this.#outbound,
      ...(this.#ports === undefined ? [] : [this.#ports]),
    ];
    await Promise.all(listeners.map((listener) => listener.drain(withinMs)));
    await this.close();
  }

  /** Ends at once. What was not reported yet waits on disk. */
  async close(): Promise<void> {
    for (const listener of [...this.#inbound, ...this.#outbound]) listener.close();
    this.#ports?.close();
    this.#guard?.close();
    this.#uplinks.close();
    this.#programs.close();
    await this.#governor.close();
  }

  async #listen(): Promise<void> {
    const { inbound, outbound, clock, timeouts, sources } = this.#options;
    const log = this.#log;
    const context: InboundContext = {
      verdicts: this.#verdicts,
      recorder: this.#governor.recorder,
      clock,
      timeouts,
      counters: this.#counters,
      log,
    };
    const http2 = { inbound: http2Server(this.#programs), outbound: http2Outbound };
    for (const route of inbound) {
      const source = sources.get(route.workload);
      // The caller has opened a source for every workload of a route.
      if (source === undefined) throw new TypeError(`no source for ${route.workload}`);
      this.#inbound.push(await InboundListener.open({ route, source, context, http2: http2.inbound }));
    }
    if (outbound.length > 0) this.#guard = guardOf({ users: this.#options.outboundUsers ?? [] });
    for (const route of outbound) {
      const options = {
        route,
        guard: this.#guard,
        recorder: context.recorder,
        uplinks: this.#uplinks,
        clock,
        timeouts,
        counters: this.#counters,
        log,
      };
      this.#outbound.push(await OutboundListener.open({ ...options, http2: http2.outbound }));
    }
    this.#ports = await this.#options.openPorts?.({ context, uplinks: this.#uplinks, http2 });
  }
}

/** The shortest grace that the policies in force for a workload name: none of them wants a longer one. */
function graceOf(enforcements: readonly Enforcement[], workload: SpiffeId | undefined): number {
  const enforced = enforcements.find((each) => each.workload === workload)?.enforced ?? [];
  const named = enforced.flatMap(({ spec }) => durationOf(spec.connectionGrace ?? '') ?? []);
  return named.length === 0 ? GRACE_MS : Math.min(...named);
}
