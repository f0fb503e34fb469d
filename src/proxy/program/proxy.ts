import { durationOf, type InterlockError, type SpiffeId } from '../../access/index.ts';
import type { AuthenticationStage, Enforcement } from '../../rollout/index.ts';
import type { Clock, X509View } from '../../workload/index.ts';
import type { StreamHandlers, ControlStream } from '../control/connect.ts';
import { ControlLink } from '../control/control-link.ts';
import { Policies } from '../control/policies.ts';
import type { StateFiles } from '../control/state-files.ts';
import { type Counters, newCounters } from '../counters.ts';
import { Aggregator } from '../evidence/aggregator.ts';
import type { Spool } from '../evidence/spool.ts';
import type { InboundContext, LogLine } from '../inbound/connection.ts';
import { InboundListener } from '../inbound/listener.ts';
import { http2Server } from '../http2/inbound.ts';
import { http2Outbound } from '../http2/outbound.ts';
import { ProgramSessions } from '../http2/program-sessions.ts';
import { OutboundListener } from '../outbound/listener.ts';
import { limitedLog } from '../log-limit.ts';
import { Uplinks } from '../outbound/uplinks.ts';
import type { Timeouts } from '../settings.ts';
import type { InboundRoute, OutboundRoute } from '../types.ts';
import { Verdicts } from '../verdicts/verdicts.ts';
import type { PortParts, Ports } from './ports.ts';

/** How often what was served is put into a report, in milliseconds. */
const REPORT_MS = 1000;
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
  readonly policies: Policies;
  readonly #options: ProxyOptions;
  readonly #verdicts: Verdicts;
  readonly #aggregator = new Aggregator();
  readonly #counters = newCounters();
  readonly #uplinks: Uplinks;
  readonly #programs: ProgramSessions;
  readonly #inbound: InboundListener[] = [];
  readonly #outbound: OutboundListener[] = [];
  readonly #link: ControlLink | undefined;
  readonly #workloads: readonly SpiffeId[];
  #ports: Ports | undefined;
  #cancelReport = () => {};
  #online = false;
  #whyAway: string | undefined;
  #draining = false;

  private constructor(options: ProxyOptions) {
    this.#options = options;
    const { clock, sources, timeouts, files, spool, instance, version, openStream, onFault } = options;
    const workloads = options.workloads ?? [...sources.keys()];
    this.#workloads = workloads;
    this.#verdicts = new Verdicts(onFault);
    this.policies = new Policies({
      files,
      now: () => clock.now(),
      after: (ms, run) => clock.after(ms, run),
      workloads,
      authentication: options.authentication,
      replace: (enforcements) => this.#verdicts.replace(enforcements),
      onFault,
    });
    this.#uplinks = new Uplinks({ sources, clock, timeouts });
    this.#programs = new ProgramSessions(clock, timeouts);
    if (openStream !== undefined) {
      this.#link = new ControlLink({
        clock,
        open: openStream,
        version,
        instance,
        workloads,
        stateVersion: () => this.policies.version,
        onState: (state) => this.policies.take(state),
        spool,
        onOnline: (online, why) => {
          // Tried again and again while it is away: said once, and again where the reason is another one.
          if (online === this.#online && why?.message === this.#whyAway) return;
          this.#online = online;
          this.#whyAway = why?.message;
          options.onOnline(online, why);
        },
      });
    }
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
    proxy.#report();
    proxy.#link?.start();
    return proxy;
  }

  /** Where the inbound routes and the outbound ones listen, in their order. */
  get addresses() {
    return {
      inbound: [...this.#inbound.map(({ address }) => address), ...(this.#ports?.addresses.inbound ?? [])],
      outbound: [...this.#outbound.map(({ address }) => address), ...(this.#ports?.addresses.outbound ?? [])],
    };
  }

  get status(): ProxyStatus {
    const { instance, sources, spool } = this.#options;
    const held = [...sources.values(), ...(this.#ports?.identities ?? [])];
    const ends = held.map(({ state }) => state.svid.expiresAt);
    const node = this.#ports?.details;
    return {
      instance,
      workloads: this.#workloads,
      stateVersion: this.policies.version,
      online: this.#online,
      draining: this.#draining,
      spooled: spool.size,
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
    this.#cancelReport();
    for (const listener of [...this.#inbound, ...this.#outbound]) listener.close();
    this.#ports?.close();
    this.#uplinks.close();
    this.#programs.close();
    this.#collect();
    this.#link?.close();
    this.policies.close();
    await this.#options.spool.settled();
  }

  async #listen(): Promise<void> {
    const { inbound, outbound, clock, timeouts, onLine, sources } = this.#options;
    const log = limitedLog(onLine, clock);
    const context: InboundContext = {
      verdicts: this.#verdicts,
      recorder: this.#aggregator,
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
    for (const route of outbound) {
      const options = {
        route,
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

  #report(): void {
    this.#cancelReport = this.#options.clock.after(REPORT_MS, () => {
      this.#collect();
      this.#link?.flush();
      this.#report();
    });
  }

  #collect(): void {
    const { spool } = this.#options;
    this.#aggregator.lose(spool.takeLost());
    const drained = this.#aggregator.drain();
    if (drained !== undefined) spool.add(drained);
  }
}

/** The shortest grace that the policies in force for a workload name: none of them wants a longer one. */
function graceOf(enforcements: readonly Enforcement[], workload: SpiffeId | undefined): number {
  const enforced = enforcements.find((each) => each.workload === workload)?.enforced ?? [];
  const named = enforced.flatMap(({ spec }) => durationOf(spec.connectionGrace ?? '') ?? []);
  return named.length === 0 ? GRACE_MS : Math.min(...named);
}
