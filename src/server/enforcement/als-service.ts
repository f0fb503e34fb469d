import type { sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js';
import { InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { parseNodeId } from '../../engines/envoy/index.ts';
import { isGrpcCluster, parseLogName, RBAC_FILTERS } from '../../engines/envoy/resources/index.ts';
import { targetVersionOf } from '../../rollout/index.ts';
import {
  type LogCall,
  type LogMessage,
  LogStream,
  type LogTaker,
  metadataSlots,
  WireError,
} from '../../sources/envoy/als/index.ts';
import type { PeerIdentity } from '../agents/listener.ts';
import { statusOf } from '../agents/status.ts';
import type { Timers } from '../timers.ts';
import type { Reported, Reporter } from './evidence/intake.ts';
import { LoggedCalls } from './evidence/logged.ts';

/** Streams of one identity: an Envoy has one for each log and thread. */
const MAX_STREAMS = 2000;
const SLOTS = metadataSlots(RBAC_FILTERS);
const EMPTY = Buffer.alloc(0);

export interface AccessLogServiceOptions {
  readonly timers: Timers;
  /** The verified caller of a call. Throws what its certificate lacks. */
  readonly callerOf: (call: { getPeer(): string }) => PeerIdentity;
  /** Whether an identity may enforce for a workload, and report of it. */
  readonly mayServe: (identity: SpiffeId, workload: SpiffeId) => boolean;
  readonly onLogged: (reporter: Reporter, reported: Reported) => void;
  readonly onPointEvent: (event: 'refused' | 'fault', who: string, error?: unknown) => void;
}

interface LogSession {
  readonly identity: PeerIdentity;
  readonly stream: LogStream;
}

/** Takes the access logs of Envoys into evidence. */
export class AccessLogServer {
  readonly #options: AccessLogServiceOptions;
  readonly #streams = new Map<SpiffeId, Set<LogSession>>();

  constructor(options: AccessLogServiceOptions) {
    this.#options = options;
  }

  /** What grpc-js takes, with `accessLogService`. */
  implementation(): UntypedServiceImplementation {
    return { streamAccessLogs: (call: LogCall, done: sendUnaryData<Buffer>) => this.#open(call, done) };
  }

  /** Ends the streams of proxies whose identity is no longer good. */
  endWhere(isBad: (identity: PeerIdentity) => boolean): void {
    const bad = [...this.#streams.values()].flatMap((sessions) =>
      [...sessions].filter(({ identity }) => isBad(identity)),
    );
    for (const { identity, stream } of bad) stream.end(over(identity));
  }

  #open(call: LogCall, done: sendUnaryData<Buffer>): void {
    const { callerOf, timers, onPointEvent } = this.#options;
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
      call.on('error', () => {});
      onPointEvent('refused', call.getPeer(), error);
      done(statusOf(error));
      return;
    }
    const stream = new LogStream({
      call,
      timers,
      slots: SLOTS,
      begin: (identifier) => this.#begin(identity, identifier),
      onEnd: (cause) => {
        if (cause === undefined) return done(null, EMPTY);
        const error = this.#faultOf(identity, cause);
        onPointEvent('refused', identity.spiffeId, error);
        done(statusOf(error));
      },
    });
    const session = { identity, stream };
    const sessions = this.#streams.get(identity.spiffeId) ?? new Set();
    this.#streams.set(identity.spiffeId, sessions.add(session));
    const cancel = timers.after(identity.notAfter - timers.now(), () => stream.end(over(identity)));
    const leave = () => {
      cancel();
      sessions.delete(session);
      if (sessions.size === 0 && this.#streams.get(identity.spiffeId) === sessions)
        this.#streams.delete(identity.spiffeId);
    };
    call.on('cancelled', leave);
    call.on('close', leave);
  }

  #faultOf({ spiffeId }: PeerIdentity, error: unknown): InterlockError {
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
  #begin({ spiffeId }: PeerIdentity, identifier: LogMessage['identifier']): LogTaker {
    const { mayServe, onLogged } = this.#options;
    const name = parseLogName(identifier?.logName ?? '');
    const node = parseNodeId(identifier?.node ?? '');
    if (name === undefined || node === undefined) {
      const text =
        'the first message of a stream of access logs names the node and a log of ours: take the bootstrap and listeners from here';
      throw new InterlockError('usage', spiffeId, text);
    }
    const { kind, workload, port, version } = name;
    if (port > 65_535 || !mayServe(spiffeId, workload))
      throw new InterlockError('forbidden', spiffeId, `${spiffeId} may not report of ${workload}`);
    const { instance } = node;
    const reporter: Reporter = {
      key: `${spiffeId}#${instance}`,
      kind: 'envoy',
      identity: spiffeId,
      instance,
      workloads: [workload],
    };
    const calls = new LoggedCalls(workload, port);
    return {
      about: { kind, port, isGrpcCluster },
      add: (call, now, routeName) => calls.add(call, now, targetVersionOf(version ?? routeName)),
      skip: (reason, sample) => calls.skip(reason, sample),
      flush: () => onLogged(reporter, calls.take()),
    };
  }
}

function over({ spiffeId }: PeerIdentity): InterlockError {
  return new InterlockError(
    'untrusted',
    spiffeId,
    `the SVID of ${spiffeId} is over or revoked: connect again with a new one`,
  );
}
