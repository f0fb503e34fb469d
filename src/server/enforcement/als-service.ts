import type {
  sendUnaryData,
  ServerReadableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { parseNodeId } from '../../engines/envoy/index.ts';
import { type LogName, parseLogName, RBAC_FILTERS } from '../../engines/envoy/resources/index.ts';
import {
  type LogAbout,
  type LogMessage,
  metadataSlots,
  readCall,
  readLogMessage,
  WireError,
} from '../../sources/envoy/als/index.ts';
import type { PeerIdentity } from '../agents/listener.ts';
import { statusOf } from '../agents/status.ts';
import type { Timers } from '../timers.ts';
import type { Reported, Reporter } from './evidence/intake.ts';
import { LoggedCalls } from './evidence/logged.ts';

/** Streams of one identity: an Envoy has one for each log and thread. */
const MAX_STREAMS = 2000;
/** Entries of one stream in a second; past it the stream waits, and Envoy drops what it has no room for. */
const MAX_ENTRIES_A_SECOND = 20_000;
const SECOND_MS = 1000;
const SLOTS = metadataSlots(RBAC_FILTERS);
const EMPTY = Buffer.alloc(0);
const asBytes = (bytes: Buffer) => bytes;

/** The service of envoy.service.accesslog.v3 with its messages as bytes: what is read of them is read in place. */
export const accessLogService: ServiceDefinition = {
  streamAccessLogs: {
    path: '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs',
    requestStream: true,
    responseStream: false,
    requestSerialize: asBytes,
    requestDeserialize: asBytes,
    responseSerialize: asBytes,
    responseDeserialize: asBytes,
  },
};

type LogStream = ServerReadableStream<Buffer, Buffer>;

export interface AccessLogServiceOptions {
  readonly timers: Timers;
  /** The verified caller of a call. Throws what its certificate lacks. */
  readonly callerOf: (call: { getPeer(): string }) => PeerIdentity;
  /** Whether an identity may enforce for a workload, and report of it. */
  readonly mayServe: (identity: SpiffeId, workload: SpiffeId) => boolean;
  readonly onLogged: (reporter: Reporter, reported: Reported) => void;
  readonly onPointEvent: (event: 'refused' | 'fault', who: string, error?: unknown) => void;
}

/** Takes the access logs of Envoys into evidence. */
export class AccessLogServer {
  readonly #options: AccessLogServiceOptions;
  readonly #streams = new Map<SpiffeId, Set<LogSession>>();

  constructor(options: AccessLogServiceOptions) {
    this.#options = options;
  }

  /** What grpc-js takes, with {@link accessLogService}. */
  implementation(): UntypedServiceImplementation {
    return { streamAccessLogs: (call: LogStream, done: sendUnaryData<Buffer>) => this.#open(call, done) };
  }

  /** Ends the streams of proxies whose identity is no longer good. */
  endWhere(isBad: (identity: PeerIdentity) => boolean): void {
    const bad = [...this.#streams.values()].flatMap((sessions) =>
      [...sessions].filter(({ identity }) => isBad(identity)),
    );
    for (const session of bad) session.end(over(session.identity));
  }

  #open(call: LogStream, done: sendUnaryData<Buffer>): void {
    const { callerOf, timers, onPointEvent } = this.#options;
    call.on('error', () => {});
    let identity: PeerIdentity;
    try {
      identity = callerOf(call);
      if ((this.#streams.get(identity.spiffeId)?.size ?? 0) >= MAX_STREAMS)
        throw new InterlockError(
          'limit',
          identity.spiffeId,
          `${identity.spiffeId} has ${MAX_STREAMS} streams of access logs already`,
        );
    } catch (error) {
      onPointEvent('refused', call.getPeer(), error);
      done(statusOf(error));
      return;
    }
    const session = new LogSession(call, identity, this.#options, done);
    const sessions = this.#streams.get(identity.spiffeId) ?? new Set();
    this.#streams.set(identity.spiffeId, sessions.add(session));
    const cancel = timers.after(identity.notAfter - timers.now(), () => session.end(over(identity)));
    const leave = () => {
      cancel();
      sessions.delete(session);
      if (sessions.size === 0 && this.#streams.get(identity.spiffeId) === sessions)
        this.#streams.delete(identity.spiffeId);
      session.stop();
    };
    call.on('end', () => {
      session.finish();
      leave();
    });
    // A stream that breaks off ends first, and is said to be cancelled then.
    call.on('cancelled', () => {
      session.brokeOff();
      leave();
    });
    call.on('close', leave);
  }
}

/** One stream: its first message says of which log it is, and that never changes. */
class LogSession {
  readonly identity: PeerIdentity;
  readonly #call: LogStream;
  readonly #options: AccessLogServiceOptions;
  readonly #done: sendUnaryData<Buffer>;
  #log: { readonly reporter: Reporter; readonly about: LogAbout; readonly calls: LoggedCalls } | undefined;
  #second = 0;
  #entries = 0;
  #ended = false;
  #refused = false;
  #cancelPause = () => {};

  constructor(
    call: LogStream,
    identity: PeerIdentity,
    options: AccessLogServiceOptions,
    done: sendUnaryData<Buffer>,
  ) {
    this.#call = call;
    this.identity = identity;
    this.#options = options;
    this.#done = done;
    call.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  end(error: InterlockError): void {
    if (this.#ended) return;
    this.#options.onPointEvent('refused', this.identity.spiffeId, error);
    this.#refused = true;
    this.stop();
    this.#done(statusOf(error));
  }

  /** Envoy has nothing more to say. */
  finish(): void {
    if (this.#ended) return;
    this.stop();
    this.#done(null, EMPTY);
  }

  /** What Envoy had not sent yet is lost, and nobody knows how much: it is noted, and not made up. */
  brokeOff(): void {
    if (this.#refused || this.#log === undefined) return;
    const { reporter, calls } = this.#log;
    calls.skip('a stream of access logs that broke off: entries that were not sent yet are unknown');
    this.#options.onLogged(reporter, calls.take());
  }

  stop(): void {
    this.#ended = true;
    this.#cancelPause();
  }

  #take(bytes: Buffer): void {
    if (this.#ended) return;
    try {
      const message = readLogMessage(bytes, SLOTS);
      const log = (this.#log ??= this.#begin(message));
      const now = this.#options.timers.now();
      const entries = log.about.kind === 'requests' ? message.http : message.tcp;
      for (const entry of entries) {
        const call = readCall(entry, log.about, now);
        if (typeof call === 'string') log.calls.skip(call, entry.path?.slice(0, 160) ?? '');
        else if (call !== undefined) log.calls.add(call, now);
      }
      this.#options.onLogged(log.reporter, log.calls.take());
      this.#slowDown(entries.length, now);
    } catch (error) {
      this.end(this.#faultOf(error));
    }
  }

  #faultOf(error: unknown): InterlockError {
    const { spiffeId } = this.identity;
    if (isInterlockError(error)) return error;
    if (error instanceof WireError)
      return new InterlockError(
        'usage',
        spiffeId,
        `${spiffeId} sent access logs that are no such message: ${error.message}`,
      );
    this.#options.onPointEvent('fault', spiffeId, error);
    return new InterlockError('unavailable', spiffeId, 'the control plane failed: try again');
  }

  /** Whom and what the log is about. Throws `usage`, `forbidden`. */
  #begin({ identifier }: LogMessage) {
    const { spiffeId } = this.identity;
    const name = parseLogName(identifier?.logName ?? '');
    const node = parseNodeId(identifier?.node ?? '');
    if (name === undefined || node === undefined) {
      const text =
        'the first message of a stream of access logs names the node and a log of ours: take the bootstrap and listeners from here';
      throw new InterlockError('usage', spiffeId, text);
    }
    const { workload, port } = name;
    if (port > 65_535 || !this.#options.mayServe(spiffeId, workload))
      throw new InterlockError('forbidden', spiffeId, `${spiffeId} may not report of ${workload}`);
    const { instance } = node;
    const reporter: Reporter = {
      key: `${spiffeId}#${instance}`,
      kind: 'envoy',
      identity: spiffeId,
      instance,
      workloads: [workload],
    };
    return { reporter, about: aboutOf(name), calls: new LoggedCalls(workload, port) };
  }

  /** A stream may not keep everyone else waiting. */
  #slowDown(entries: number, now: number): void {
    const second = Math.floor(now / SECOND_MS);
    this.#entries = second === this.#second ? this.#entries + entries : entries;
    this.#second = second;
    if (this.#entries <= MAX_ENTRIES_A_SECOND) return;
    this.#call.pause();
    this.#cancelPause = this.#options.timers.after((second + 1) * SECOND_MS - now, () => this.#call.resume());
  }
}

function aboutOf({ kind, port }: LogName): LogAbout {
  return { kind, port, isGrpcCluster };
}

/** Requests of ours go to a cluster of their own where their content type is that of gRPC. */
function isGrpcCluster(cluster: string): boolean | undefined {
  return cluster.startsWith('inbound/') ? cluster.endsWith('/grpc') : undefined;
}

function over({ spiffeId }: PeerIdentity): InterlockError {
  return new InterlockError(
    'untrusted',
    spiffeId,
    `the SVID of ${spiffeId} is over or revoked: connect again with a new one`,
  );
}
