import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type InterlockError, isInterlockError } from '../../access/index.ts';
import { type FromProxy, FromProxySchema, type ProxyState, type ToProxy } from '../../proto/proxy/index.ts';
import { Backoff, type Clock } from '../../workload/index.ts';
import type { Spool } from '../evidence/spool.ts';
import type { ControlStream, StreamHandlers } from './connect.ts';

/** Reports on their way at a time. */
const WINDOW = 4;
/** The longest wait for a control plane that is away: a release that is pressed when it is back must not wait longer. */
const LONGEST_WAIT_MS = 5_000;

type Message = NonNullable<MessageInitShape<typeof FromProxySchema>['message']>;

export interface ControlLinkOptions {
  readonly clock: Clock;
  readonly open: (handlers: StreamHandlers) => ControlStream;
  readonly version: string;
  readonly instance: string;
  readonly workloads: readonly string[];
  /** Version of the state that is in force, 0 for none. */
  readonly stateVersion: () => number;
  /** Puts a state in force, or throws why it cannot be: then the one before stays. */
  readonly onState: (state: ProxyState) => void;
  readonly spool: Spool;
  readonly onOnline: (online: boolean, why?: InterlockError) => void;
}

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
      },
    });
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
        this.#options.spool.taken(sequence);
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

  #apply(state: ProxyState): void {
    let fault = { code: '', message: '' };
    try {
      this.#options.onState(state);
    } catch (error) {
      fault = isInterlockError(error)
        ? { code: error.code, message: error.message }
        : { code: 'unavailable', message: 'the proxy failed to take the state' };
    }
    this.#send({ case: 'applied', value: { stateVersion: state.version, ...fault } });
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
