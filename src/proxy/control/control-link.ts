import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type FromProxy, FromProxySchema, type ProxyState, type ToProxy } from '../../proto/proxy/index.ts';
import { Backoff, type Clock } from '../../workload/index.ts';
import type { Spool } from '../evidence/spool.ts';
import type { LocalRelease } from './policies.ts';
import type { ControlStream, StreamHandlers } from './connect.ts';

/** Reports on their way at a time. */
const WINDOW = 4;
/** The longest wait for a control plane that is away: a release that is pressed when it is back must not wait longer. */
const LONGEST_WAIT_MS = 5_000;

type Message = NonNullable<MessageInitShape<typeof FromProxySchema>['message']>;

/** Why a state is not in force: a closed error code, and what to tell the people there. */
export interface AppliedFault {
  readonly code: string;
  readonly message: string;
}

export interface ControlLinkOptions {
  readonly clock: Clock;
  readonly open: (handlers: StreamHandlers) => ControlStream;
  readonly version: string;
  readonly instance: string;
  readonly workloads: readonly string[];
  /** Version of the state that is in force, 0 for none. */
  readonly stateVersion: () => number;
  /**
   * Puts a state in force, or throws why it cannot be: then the one before stays. `later`: others put it in force, and
   * {@link ControlLink.applied} says what became of it.
   */
  readonly onState: (state: ProxyState) => 'applied' | 'later';
  /** What is released on this machine; {@link ControlLink.localChanged} says that it is another. */
  readonly localReleases?: () => readonly LocalRelease[];
  readonly spool: Spool;
  /** The control plane will never take a report. */
  readonly onRefused?: (error: InterlockError) => void;
  readonly onOnline: (online: boolean, why?: InterlockError) => void;
}

const IN_FORCE: AppliedFault = { code: '', message: '' };

/** The proxy's lasting connection to the control plane: states in, confirmations and evidence out. */
export class ControlLink {
  readonly #options: ControlLinkOptions;
  readonly #backoff: Backoff;
  #stream: ControlStream | undefined;
  #cancelWait = () => {};
  #closed = false;
  #sentUpTo = 0;
  readonly #onTheirWay = new Set<number>();
  #sending = false;

  constructor(options: ControlLinkOptions) {
    this.#options = options;
    this.#backoff = new Backoff(() => options.clock.random(), LONGEST_WAIT_MS);
  }

  start(): void {
    this.#connect();
  }

  /** Sends what the spool holds, as far as there is room for it. */
  flush(): void {
    void this.#flush();
  }

  /** Says that a state is in force, or why it is not. Nobody hears it while the control plane is away: it sends its state anew. */
  applied(version: number, fault: AppliedFault = IN_FORCE): void {
    this.#send({ case: 'applied', value: { stateVersion: BigInt(version), ...fault } });
  }

  /** Says what is released on this machine now. Nobody hears it while the control plane is away: the next greeting says it. */
  localChanged(): void {
    this.#send({ case: 'local', value: { releases: this.#local() } });
  }

  close(): void {
    this.#closed = true;
    this.#cancelWait();
    this.#stream?.close();
  }

  #connect(): void {
    const { open, clock, version, instance, workloads, stateVersion } = this.#options;
    this.#sentUpTo = 0;
    this.#onTheirWay.clear();
    let stream: ControlStream | undefined;
    try {
      stream = open({
        onMessage: (message) => this.#take(message),
        onDrain: () => this.flush(),
        onEnd: (error) => this.#ended(error),
      });
    } catch (error) {
      this.#ended(isInterlockError(error) ? error : undefined);
      return;
    }
    this.#stream = stream;
    this.#send({
      case: 'hello',
      value: {
        version,
        instance,
        workloads: [...workloads],
        stateVersion: BigInt(stateVersion()),
        now: BigInt(clock.now()),
        local: this.#local(),
      },
    });
  }

  #local() {
    const { localReleases = () => [] } = this.#options;
    return localReleases().map(({ workload = '', reason, by, at, until = 0 }) => ({
      workload,
      reason,
      by,
      at: BigInt(Math.floor(at)),
      until: BigInt(Math.floor(until)),
    }));
  }

  #ended(error: InterlockError | undefined): void {
    const { clock, onOnline } = this.#options;
    this.#stream = undefined;
    if (this.#closed) return;
    onOnline(false, error);
    this.#cancelWait = clock.after(this.#backoff.next(), () => this.#connect());
  }

  #take(message: ToProxy['message']): void {
    switch (message.case) {
      case 'state':
        // It has answered: the next wait is a short one again.
        this.#backoff.reset();
        this.#options.onOnline(true);
        this.#apply(message.value);
        this.flush();
        return;
      case 'taken': {
        const sequence = Number(message.value.sequence);
        this.#onTheirWay.delete(sequence);
        this.#settle(sequence, message.value);
        this.flush();
        return;
      }
      case 'drain': {
        const stream = this.#stream;
        this.#cancelWait = this.#options.clock.after(
          this.#options.clock.random() * message.value.withinMs,
          () => stream?.close(),
        );
        return;
      }
      default:
        // A newer control plane may say what this proxy does not know.
        return;
    }
  }

  /** One that is refused is not sent again: it would be refused for ever, and those after it would wait. */
  #settle(sequence: number, { code, message }: { code: string; message: string }): void {
    const { spool, onRefused } = this.#options;
    if (code === '') return spool.taken(sequence);
    const calls = spool.refused(sequence);
    const text = `the control plane does not take a report of ${calls} calls, which are lost (${code}): ${message}`;
    onRefused?.(new InterlockError('forbidden', 'report', text));
  }

  #apply(state: ProxyState): void {
    const version = Number(state.version);
    try {
      if (this.#options.onState(state) === 'applied') this.applied(version);
    } catch (error) {
      this.applied(
        version,
        isInterlockError(error)
          ? { code: error.code, message: error.message }
          : { code: 'unavailable', message: 'the proxy failed to take the state' },
      );
    }
  }

  async #flush(): Promise<void> {
    const stream = this.#stream;
    if (this.#sending || stream === undefined) return;
    this.#sending = true;
    try {
      while (this.#stream === stream && this.#onTheirWay.size < WINDOW) {
        const [report] = await this.#options.spool.after(this.#sentUpTo, 1);
        if (report === undefined || this.#stream !== stream) return;
        this.#sentUpTo = Number(report.sequence);
        this.#onTheirWay.add(this.#sentUpTo);
        if (!this.#send({ case: 'report', value: report })) return;
      }
    } finally {
      this.#sending = false;
    }
  }

  #send(message: Message): boolean {
    const whole: FromProxy = create(FromProxySchema, { message });
    return this.#stream?.send(whole) ?? false;
  }
}
