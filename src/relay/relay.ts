import type { Server } from '@grpc/grpc-js';
import { Governor, type GovernorOptions, type LocallyServed, type Policies } from '../proxy/index.ts';
import type { Enforcement } from '../rollout/index.ts';
import { accessLogService } from '../sources/envoy/als/index.ts';
import type { X509View } from '../workload/index.ts';
import { adsService, type XdsEvent } from '../xds/index.ts';
import { Envoys, type Verdict } from './envoys.ts';
import { EnvoyLogs, type LogsStatus } from './logs.ts';
import { metricsText } from './metrics.ts';
import { type EnvoyRoutes, render, type Rendered } from './rendering.ts';
import { serveOnSocket } from './socket.ts';

/** After how long without Envoy's word the control plane is told that a state is not in force; milliseconds. */
const LATE_MS = 10_000;
/** How long the button waits for Envoy's word; milliseconds. The command line waits for 5 s. */
const PRESSED_MS = 3000;

type Shared = Pick<
  GovernorOptions,
  'instance' | 'version' | 'files' | 'spool' | 'clock' | 'openStream' | 'onOnline' | 'onFault'
>;

export interface RelayOptions extends Shared {
  readonly routes: EnvoyRoutes;
  readonly source: X509View;
  /** Where Envoy finds it. */
  readonly socket: string;
  /** Who may open the socket beside root and this user: a group, by its number. */
  readonly group?: number | undefined;
  readonly onEvent: (event: RelayEvent) => void;
}

interface GoodState {
  readonly version: number;
  readonly enforcements: readonly Enforcement[];
}

/** What the relay tells its log. */
export type RelayEvent =
  | {
      readonly event: 'envoy';
      readonly what: XdsEvent['event'];
      readonly detail?: string;
      readonly error?: unknown;
    }
  | { readonly event: 'confirmed'; readonly stateVersion: number }
  | {
      readonly event: 'refused';
      readonly stateVersion: number;
      readonly detail: string;
      readonly back: boolean;
    }
  | { readonly event: 'logs-refused'; readonly error: unknown }
  | { readonly event: 'wider'; readonly detail: string };

/** What the relay says of itself. */
export interface RelayStatus {
  readonly instance: string;
  readonly workloads: readonly string[];
  readonly stateVersion: number;
  readonly online: boolean;
  readonly draining: boolean;
  readonly spooled: number;
  /** When its SVID ends, milliseconds since 1970 UTC. */
  readonly svidEnds: number;
  readonly envoys: readonly { readonly id: string; readonly version: string; readonly state: string }[];
  /** Whether Envoy has the newest state in force. */
  readonly verdict: Verdict;
  /** What Envoy refused of the newest state of the control plane; the one before is in force. */
  readonly refused?: { readonly stateVersion: number; readonly message: string };
  /** What Envoy cannot say of the policies in force and of the target. */
  readonly losses: Rendered['losses'];
  readonly logs: LogsStatus;
}

/**
 * Stands between one Envoy and the control plane: to the control plane a proxy like the built-in one, to Envoy its whole
 * configuration, which outlives the control plane. A state is in force when Envoy has accepted it.
 */
export class Relay implements LocallyServed {
  readonly #options: RelayOptions;
  readonly #governor: Governor;
  readonly #envoys: Envoys;
  readonly #logs: EnvoyLogs;
  readonly #unwatch: () => void;
  readonly #waiting = new Set<(why: string | undefined) => void>();
  #socket: { close(): void } | undefined;
  #enforcements: readonly Enforcement[] = [];
  #losses: Rendered['losses'] = { enforced: [], target: [] };
  #applied = 0;
  #refused: { readonly version: number; readonly message: string } | undefined;
  /** The state that the Envoy of now accepted last, whole and without a release made here. */
  #good: GoodState | undefined;
  /** What the control plane heard last: it is told of what changed, for the time of a confirmation is that of its word. */
  #told = '';
  #cancelLate = () => {};
  #trustDomains: string;
  #draining = false;

  private constructor(options: RelayOptions) {
    this.#options = options;
    const { clock, routes, source, onEvent } = options;
    const { workload, document } = routes;
    this.#trustDomains = trustDomainsOf(source).join();
    this.#envoys = new Envoys({
      workload,
      clock,
      onVerdict: (verdict) => this.#judged(verdict),
      onEvent: ({ event, detail, error }) =>
        onEvent({
          event: 'envoy',
          what: event,
          ...(detail === undefined ? {} : { detail }),
          ...(error === undefined ? {} : { error }),
        }),
    });
    this.#governor = new Governor({
      ...options,
      workloads: [workload],
      authentication: document.authentication,
      replace: (enforcements) => this.#render(enforcements),
      onTaken: () => {
        this.#refused = undefined;
        this.#expect();
      },
      appliedVersion: () => this.#applied,
    });
    this.#logs = new EnvoyLogs({
      workload,
      timers: clock,
      recorder: this.#governor.recorder,
      lose: (n) => this.#governor.lose(n),
      onRefused: (error) => onEvent({ event: 'logs-refused', error }),
    });
    this.#unwatch = source.onUpdate(() => this.#trust());
  }

  /** Serves Envoy from the last state on disk; the control plane may come later. Throws as `serveOnSocket`. */
  static async open(options: RelayOptions): Promise<Relay> {
    const relay = new Relay(options);
    try {
      relay.#socket = await serveOnSocket(options.socket, options.group, (server) => relay.#addTo(server));
    } catch (error) {
      await relay.close();
      throw error;
    }
    relay.#governor.start();
    return relay;
  }

  /** What it enforces, and the button. */
  get policies(): Policies {
    return this.#governor.policies;
  }

  get status(): RelayStatus {
    const { instance, routes, source } = this.#options;
    return {
      instance,
      workloads: [routes.workload],
      stateVersion: this.policies.version,
      online: this.#governor.online,
      draining: this.#draining,
      spooled: this.#governor.spooled,
      svidEnds: source.state.svid.expiresAt,
      envoys: this.#envoys.connected.map(({ node, state }) => ({
        id: node.id,
        version: node.userAgent,
        state,
      })),
      verdict: this.#envoys.verdict,
      ...(this.#refused === undefined
        ? {}
        : { refused: { stateVersion: this.#refused.version, message: this.#refused.message } }),
      losses: this.#losses,
      logs: this.#logs.status,
    };
  }

  get metrics(): string {
    return metricsText(this.status);
  }

  /** Resolves when Envoy has what was pressed in force, or with why it has not yet. */
  inForce(): Promise<string | undefined> {
    const { kind } = this.#envoys.verdict;
    if (kind !== 'waiting') return Promise.resolve(whyNot(this.#envoys.verdict));
    return new Promise((resolve) => {
      const done = (why: string | undefined) => {
        cancel();
        this.#waiting.delete(done);
        resolve(why);
      };
      const cancel = this.#options.clock.after(PRESSED_MS, () => done(whyNot(this.#envoys.verdict)));
      this.#waiting.add(done);
    });
  }

  /** Ends at once: Envoy keeps what it has. What was not reported yet waits on disk. */
  async close(): Promise<void> {
    this.#draining = true;
    this.#unwatch();
    this.#cancelLate();
    this.#envoys.close();
    this.#socket?.close();
    for (const done of this.#waiting) done('the relay stops');
    await this.#governor.close();
  }

  #addTo(server: Server): void {
    server.addService(adsService, this.#envoys.ads.implementation());
    server.addService(accessLogService, this.#logs.implementation());
  }

  /** Throws what no Envoy could be given: then it keeps what it has. */
  #render(enforcements: readonly Enforcement[]): void {
    const { routes, source, clock, onEvent } = this.#options;
    const enforcement = enforcements.find(({ workload }) => workload === routes.workload);
    // The policies see to it that a state names every workload.
    if (enforcement === undefined) throw new TypeError(`the state says nothing of ${routes.workload}`);
    const { resources, losses } = render(routes, enforcement, trustDomainsOf(source), clock.now());
    const wider = losses.enforced.filter(({ effect }) => effect === 'wider');
    const known = new Set(this.#losses.enforced.map(({ what }) => what));
    for (const { what } of wider) if (!known.has(what)) onEvent({ event: 'wider', detail: what });
    this.#envoys.set(resources);
    this.#enforcements = enforcements;
    this.#losses = losses;
  }

  /** Whom Envoy lets in depends on which trust domains there are. */
  #trust(): void {
    const trustDomains = trustDomainsOf(this.#options.source).join();
    if (trustDomains === this.#trustDomains) return;
    this.#trustDomains = trustDomains;
    try {
      this.#render(this.#enforcements);
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  #judged(verdict: Verdict): void {
    switch (verdict.kind) {
      case 'confirmed':
        this.#confirmed();
        break;
      case 'refused':
        this.#refuse(verdict.message);
        break;
      case 'away':
        this.#applied = 0;
        this.#good = undefined;
        this.#expect();
        break;
      case 'waiting':
        this.#expect();
        return;
    }
    for (const done of this.#waiting) done(whyNot(verdict));
  }

  #confirmed(): void {
    this.#cancelLate();
    const { version, enforcements, releases } = this.policies;
    this.#applied = version;
    this.#options.onEvent({ event: 'confirmed', stateVersion: version });
    // Under a release Envoy was never shown what is enforced without it.
    if (releases.length === 0) this.#good = { version, enforcements };
    // What went back to Envoy is in force, and not what it refused.
    if (this.#refused !== undefined && this.#refused.version !== version) {
      const { version: newest, message } = this.#refused;
      return this.#tell(newest, { code: 'invalid_document', message });
    }
    this.#refused = undefined;
    this.#tell(version);
  }

  #refuse(words: string): void {
    this.#cancelLate();
    const { version } = this.policies;
    const back = this.#wayBack();
    // Where even that is refused it is not the state that Envoy minds.
    this.#good = undefined;
    this.#options.onEvent({
      event: 'refused',
      stateVersion: version,
      detail: words,
      back: back !== undefined,
    });
    this.#refused ??= { version, message: `Envoy refused it: ${words}` };
    this.#tell(this.#refused.version, { code: 'invalid_document', message: this.#refused.message });
    if (back === undefined) return;
    // After the stream that refused has said all that it has to say.
    queueMicrotask(() => {
      try {
        if (this.policies.version === version) this.policies.restore(back.version, back.enforcements);
      } catch (error) {
        this.#options.onFault(error);
      }
    });
  }

  /**
   * Envoy keeps of a refused state what it found good: the last good one is to go back to it whole. Not where it refused
   * that as well, a port that is taken for instance; and never in place of a release, of which every part counts.
   */
  #wayBack(): GoodState | undefined {
    const { enforcements } = this.policies;
    if (enforcements.some(({ released }) => released !== undefined)) return undefined;
    const good = this.#good;
    return JSON.stringify(good?.enforcements) === JSON.stringify(enforcements) ? undefined : good;
  }

  /** Envoy is to say something: where it does not, the control plane is told so. */
  #expect(): void {
    this.#cancelLate();
    this.#cancelLate = this.#options.clock.after(LATE_MS, () => {
      const message = whyNot(this.#envoys.verdict);
      if (message !== undefined) this.#tell(this.policies.version, { code: 'unavailable', message });
    });
  }

  #tell(version: number, fault?: { readonly code: string; readonly message: string }): void {
    const word = `${version} ${fault?.code ?? ''} ${fault?.message ?? ''}`;
    // 0: no control plane has given a state yet.
    if (version === 0 || word === this.#told) return;
    this.#told = word;
    this.#governor.applied(version, fault);
  }
}

function whyNot(verdict: Verdict): string | undefined {
  switch (verdict.kind) {
    case 'confirmed':
      return undefined;
    case 'away':
      return 'no Envoy is connected to the relay: it gets this when it comes';
    case 'waiting':
      return 'Envoy has not confirmed it yet';
    case 'refused':
      return `Envoy refused it: ${verdict.message}`;
  }
}

function trustDomainsOf(source: X509View): string[] {
  return [...source.state.bundles.keys()].toSorted();
}
