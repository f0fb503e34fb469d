import type { ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import {
  ERROR_CODES,
  type ErrorCode,
  InterlockError,
  isInterlockError,
  type SpiffeId,
  spiffeIdOf,
} from '../../access/index.ts';
import type { FromProxy, Hello, LocalRelease, Report, ToProxy } from '../../proto/proxy/index.ts';
import type { PeerIdentity } from '../agents/listener.ts';
import { statusOf } from '../agents/status.ts';
import type { Timers } from '../timers.ts';
import type { Hub, PointLink } from './hub.ts';
import type { Point, ReleasedHere } from './points.ts';
import { readLocalReleases } from './local-releases.ts';
import { refusedMessage, stateMessage, takenMessage } from './proxy-messages.ts';

/** How long the first message of a stream may take; milliseconds. */
const GREETING_MS = 10_000;
const MAX_WORKLOADS = 1000;
const MAX_NAME = 253;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;
/** Reports of one proxy that wait for the store; a proxy sends the next ones when these are taken. */
const MAX_REPORTS = 4;
/** Streams of one identity: as many as it may have proxies, each with a former one that is not found dead yet. */
const MAX_STREAMS = 4000;

type ProxyStream = ServerDuplexStream<FromProxy, ToProxy>;

export interface ProxyServiceOptions {
  readonly hub: Hub;
  readonly timers: Timers;
  /** The verified caller of a call. Throws what its certificate lacks. */
  readonly callerOf: (call: { getPeer(): string }) => PeerIdentity;
  /** Whether an identity may enforce for a workload, and report of it. */
  readonly mayServe: (identity: SpiffeId, workload: SpiffeId) => boolean;
  /** Keeps a report; resolves when it is kept for good. A report that is known already is kept already. Throws where there is no room. */
  readonly onReport: (point: Point, report: Report) => Promise<void>;
  /** What is released by hand at a proxy, complete: as it connects, and whenever it changes. */
  readonly onLocalReleases: (point: Point, releases: readonly ReleasedHere[]) => void;
  readonly onPointEvent: (
    event: 'connected' | 'disconnected' | 'refused' | 'fault',
    who: string,
    error?: unknown,
  ) => void;
}

/** The gRPC service of our own proxies: states out, confirmations and evidence in. */
export class ProxyServer {
  readonly #options: ProxyServiceOptions;
  readonly #sessions = new Set<ProxySession>();
  readonly #ofIdentity = new Map<SpiffeId, number>();

  constructor(options: ProxyServiceOptions) {
    this.#options = options;
  }

  /** What grpc-js takes, with `ProxyService` of proxy.proto. */
  implementation(): UntypedServiceImplementation {
    return { connect: (call: ProxyStream) => this.#connect(call) };
  }

  /** Ends the streams of proxies whose identity is no longer good. */
  endWhere(isBad: (identity: PeerIdentity) => boolean): void {
    for (const session of this.#sessions) if (isBad(session.identity)) session.end(revoked(session.identity));
  }

  #connect(call: ProxyStream): void {
    const { callerOf, timers, onPointEvent } = this.#options;
    call.on('error', () => {});
    let identity: PeerIdentity;
    try {
      identity = callerOf(call);
      const streams = this.#ofIdentity.get(identity.spiffeId) ?? 0;
      if (streams >= MAX_STREAMS)
        throw new InterlockError(
          'limit',
          identity.spiffeId,
          `at most ${MAX_STREAMS} streams of one identity`,
        );
      this.#ofIdentity.set(identity.spiffeId, streams + 1);
    } catch (error) {
      onPointEvent('refused', call.getPeer(), error);
      call.emit('error', statusOf(error));
      return;
    }
    const session = new ProxySession(call, identity, this.#options);
    this.#sessions.add(session);
    const late = timers.after(GREETING_MS, () => session.greetOrEnd());
    const over = timers.after(identity.notAfter - timers.now(), () => session.end(revoked(identity)));
    const leave = () => {
      late();
      over();
      session.stop();
      if (this.#sessions.delete(session)) this.#left(identity.spiffeId);
    };
    call.on('end', () => {
      leave();
      call.end();
    });
    call.on('cancelled', leave);
    call.on('close', leave);
  }

  #left(identity: SpiffeId): void {
    const left = (this.#ofIdentity.get(identity) ?? 1) - 1;
    if (left === 0) this.#ofIdentity.delete(identity);
    else this.#ofIdentity.set(identity, left);
  }
}

/** One proxy's stream. While its connection is full nothing is queued: it gets the newest state when it has room. */
class ProxySession implements PointLink {
  readonly identity: PeerIdentity;
  readonly #call: ProxyStream;
  readonly #options: ProxyServiceOptions;
  #point: Point | undefined;
  #sent = 0;
  #full = false;
  #ended = false;
  #reports = 0;

  constructor(call: ProxyStream, identity: PeerIdentity, options: ProxyServiceOptions) {
    this.#call = call;
    this.identity = identity;
    this.#options = options;
    call.on('data', (message: FromProxy) => this.#take(message.message));
    call.on('drain', () => {
      this.#full = false;
      this.push();
      call.resume();
    });
  }

  push(): void {
    if (this.#point === undefined || this.#full || this.#ended) return;
    try {
      const state = this.#options.hub.stateOf(this.#point);
      if (state.version === this.#sent) return;
      this.#sent = state.version;
      this.#full = !this.#call.write(stateMessage(state));
    } catch (error) {
      // One proxy that cannot be told must not keep a release from those after it.
      this.#options.onPointEvent('fault', this.#point.key, error);
      this.end(new InterlockError('unavailable', this.#point.key, 'the state could not be made: try again'));
    }
  }

  greetOrEnd(): void {
    if (this.#point === undefined)
      this.end(
        new InterlockError('usage', this.identity.spiffeId, 'the first message of a stream is "hello"'),
      );
  }

  end(error: InterlockError): void {
    if (this.#ended) return;
    this.#options.onPointEvent('refused', this.identity.spiffeId, error);
    this.stop();
    this.#call.emit('error', statusOf(error));
  }

  /** The stream has ended: nothing more is sent. */
  stop(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#point === undefined) return;
    this.#options.hub.detach(this.#point, this);
    this.#options.onPointEvent('disconnected', this.#point.key);
  }

  #take(message: FromProxy['message']): void {
    if (this.#ended) return;
    try {
      switch (message.case) {
        case 'hello':
          return this.#hello(message.value);
        case 'applied':
          return this.#applied(message.value);
        case 'report':
          return this.#report(message.value);
        case 'local':
          return this.#local(message.value.releases);
        default:
          return;
      }
    } catch (error) {
      if (!isInterlockError(error)) this.#options.onPointEvent('fault', this.identity.spiffeId, error);
      this.end(
        isInterlockError(error)
          ? error
          : new InterlockError('unavailable', this.identity.spiffeId, 'the control plane failed: try again'),
      );
    }
  }

  #hello({ instance, version, workloads, stateVersion, now, local }: Hello): void {
    const { hub, mayServe, onPointEvent, timers } = this.#options;
    const { spiffeId } = this.identity;
    if (this.#point !== undefined) throw new InterlockError('usage', spiffeId, 'a stream has one "hello"');
    if (instance.length > MAX_NAME || !NAME.test(instance))
      throw new InterlockError(
        'usage',
        spiffeId,
        `an instance has 1 to ${MAX_NAME} letters, digits, ".", "_", ":" or "-"`,
      );
    if (workloads.length === 0 || workloads.length > MAX_WORKLOADS)
      throw new InterlockError('limit', spiffeId, `a proxy serves 1 to ${MAX_WORKLOADS} workloads`);
    const served = [...new Set(workloads)].map((id) => {
      const workload = spiffeIdOf(id);
      if (workload === undefined || !mayServe(spiffeId, workload))
        throw new InterlockError(
          'forbidden',
          spiffeId,
          `${spiffeId} may not enforce for ${id.slice(0, 200)}: name it with --node-proxy at the control plane`,
        );
      return workload;
    });
    const applied = Number(stateVersion);
    const made = {
      kind: 'proxy',
      identity: spiffeId,
      instance,
      workloads: served,
      version: version.slice(0, 64),
      ...(now === 0n ? {} : { clockOffset: Number(now) - timers.now() }),
    } as const;
    this.#point = hub.attach(made, Number.isSafeInteger(applied) ? applied : 0, this);
    const { key } = this.#point;
    onPointEvent('connected', key);
    this.#local(local);
    if (hub.connectionsOf(key) > 1) onPointEvent('fault', key, sharedName(key));
    this.push();
  }

  #applied({ stateVersion, code, message }: { stateVersion: bigint; code: string; message: string }): void {
    const { hub } = this.#options;
    const { key } = this.#greeted();
    const version = Number(stateVersion);
    // What was never sent cannot be confirmed.
    if (version > this.#sent) return;
    if (code === '') return hub.confirm(key, version, this);
    hub.refuse(key, Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'unavailable', message);
  }

  #local(releases: readonly LocalRelease[]): void {
    const point = this.#greeted();
    this.#options.onLocalReleases(point, readLocalReleases(releases, point.workloads));
  }

  #report(report: Report): void {
    const point = this.#greeted();
    if (++this.#reports > MAX_REPORTS)
      throw new InterlockError('limit', point.key, `at most ${MAX_REPORTS} reports wait at a time`);
    const foreign = foreignIn(report, point);
    if (foreign !== undefined) return this.#refuseReport(foreign, report.sequence);
    void this.#keep(this.#options.onReport(point, report), point, report.sequence);
  }

  /** It would be refused for ever: the proxy is told so, and goes on with the next one. */
  #refuseReport(error: InterlockError, sequence: bigint): void {
    this.#options.onPointEvent('refused', this.identity.spiffeId, error);
    this.#reports--;
    if (!this.#call.write(refusedMessage(sequence, error))) this.#call.pause();
  }

  /** While the store fails the report waits, and with it only the reports of this proxy: states and confirmations go on. */
  async #keep(kept: Promise<void>, { key }: Point, sequence: bigint): Promise<void> {
    try {
      await kept;
    } catch (error) {
      // The proxy keeps it, and sends it again over its next stream.
      this.#options.onPointEvent('fault', key, error);
      this.end(new InterlockError('unavailable', key, 'the report could not be kept: send it again later'));
      return;
    }
    this.#reports--;
    // Whoever does not read what was taken sends no more.
    if (!this.#ended && !this.#call.write(takenMessage(sequence))) this.#call.pause();
  }

  #greeted(): Point {
    if (this.#point !== undefined) return this.#point;
    throw new InterlockError('usage', this.identity.spiffeId, 'the first message of a stream is "hello"');
  }
}

/** What a report tells of a workload that its proxy does not serve. */
function foreignIn(
  { accesses, flips, plaintext, unreached }: Report,
  point: Point,
): InterlockError | undefined {
  const served = new Set<string>(point.workloads);
  const { key } = point;
  const refused = (what: string) =>
    new InterlockError('forbidden', key, `${key} reports ${what}, which it does not serve`);
  for (const { to } of [...accesses, ...flips, ...plaintext])
    if (!served.has(to)) return refused(`of ${to.slice(0, 200)}`);
  for (const { workload } of unreached)
    if (workload !== '' && !served.has(workload)) return refused(`of calls of ${workload.slice(0, 200)}`);
  return undefined;
}

function revoked({ spiffeId }: PeerIdentity): InterlockError {
  return new InterlockError(
    'untrusted',
    spiffeId,
    `the SVID of ${spiffeId} is over or revoked: connect again with a new one`,
  );
}

function sharedName(key: string): InterlockError {
  return new InterlockError(
    'conflict',
    key,
    `several connections say they are ${key}: one that is not found dead yet, two proxies with one --instance, or a stolen identity`,
  );
}
