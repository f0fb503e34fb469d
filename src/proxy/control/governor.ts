import type { InterlockError, SpiffeId } from '../../access/index.ts';
import type { AuthenticationStage, Enforcement } from '../../rollout/index.ts';
import type { Clock } from '../../workload/index.ts';
import { Aggregator } from '../evidence/aggregator.ts';
import type { Spool } from '../evidence/spool.ts';
import type { AccessRecorder } from '../types.ts';
import type { ControlStream, StreamHandlers } from './connect.ts';
import { type AppliedFault, ControlLink } from './control-link.ts';
import { Policies } from './policies.ts';
import type { StateFiles } from './state-files.ts';

/** How often what was served is put into a report, in milliseconds. */
const REPORT_MS = 1000;

export interface GovernorOptions {
  readonly instance: string;
  readonly version: string;
  readonly workloads: readonly SpiffeId[];
  readonly authentication: AuthenticationStage;
  readonly files: StateFiles;
  readonly spool: Spool;
  readonly clock: Clock;
  /** Puts the sets in force, or throws why they cannot be. */
  readonly replace: (enforcements: readonly Enforcement[]) => void;
  /**
   * Where others put a state in force: told of each that was taken, and {@link Governor.applied} says what became of it.
   * Absent: a state is in force once `replace` has come back.
   */
  readonly onTaken?: ((version: number) => void) | undefined;
  /** Version of the state that is in force, as the control plane is told on connecting; that of the policies where absent. */
  readonly appliedVersion?: (() => number) | undefined;
  /** Opens the stream to the control plane; absent where there is none. */
  readonly openStream?: ((handlers: StreamHandlers) => ControlStream) | undefined;
  readonly onOnline: (online: boolean, why?: InterlockError) => void;
  readonly onFault: (error: unknown) => void;
}

/**
 * What every enforcement point of ours has: its policies from the control plane, from disk and from the button on this
 * machine; evidence, which goes back through the spool.
 */
export class Governor {
  readonly policies: Policies;
  readonly #options: GovernorOptions;
  readonly #aggregator = new Aggregator();
  readonly #link: ControlLink | undefined;
  #cancelReport = () => {};
  #online = false;
  #whyAway: string | undefined;

  constructor(options: GovernorOptions) {
    this.#options = options;
    const { clock, files, spool, instance, version, workloads, openStream, onTaken, onFault } = options;
    this.policies = new Policies({
      files,
      now: () => clock.now(),
      after: (ms, run) => clock.after(ms, run),
      workloads,
      authentication: options.authentication,
      replace: options.replace,
      onFault,
      onReleases: () => this.#link?.localChanged(),
    });
    if (openStream === undefined) return;
    this.#link = new ControlLink({
      clock,
      open: openStream,
      version,
      instance,
      workloads,
      localReleases: () => this.policies.releases,
      stateVersion: options.appliedVersion ?? (() => this.policies.version),
      onState: (state) => {
        this.policies.take(state);
        if (onTaken === undefined) return 'applied';
        onTaken(this.policies.version);
        return 'later';
      },
      spool,
      onRefused: onFault,
      onOnline: (online, why) => {
        // Tried again and again while it is away: said once, and again where the reason is another one.
        if (online === this.#online && why?.message === this.#whyAway) return;
        this.#online = online;
        this.#whyAway = why?.message;
        options.onOnline(online, why);
      },
    });
  }

  /** Takes what was served. */
  get recorder(): AccessRecorder {
    return this.#aggregator;
  }

  /** Whether the control plane is connected. */
  get online(): boolean {
    return this.#online;
  }

  /** Reports that the control plane has not taken yet. */
  get spooled(): number {
    return this.#options.spool.size;
  }

  /** Begins to report, and connects. */
  start(): void {
    this.#report();
    this.#link?.start();
  }

  /** Counts accesses that are in no report. */
  lose(n: number): void {
    this.#aggregator.lose(n);
  }

  /** Tells the control plane that a state is in force, or why it is not. */
  applied(version: number, fault?: AppliedFault): void {
    this.#link?.applied(version, fault);
  }

  /** Ends at once. What was not reported yet waits on disk. */
  async close(): Promise<void> {
    this.#cancelReport();
    this.#collect();
    this.#link?.close();
    this.policies.close();
    await this.#options.spool.settled();
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
