import type { sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js';
import { InterlockError, isInterlockError, type SpiffeId } from '../access/index.ts';
import { isGrpcCluster, parseLogName, RBAC_FILTERS } from '../engines/envoy/resources/index.ts';
import type { AccessRecorder, Caller } from '../proxy/index.ts';
import { targetVersionOf } from '../rollout/index.ts';
import {
  type LogCall,
  type LoggedCall,
  type LoggedPlaintext,
  type LogMessage,
  LogStream,
  type LogTaker,
  metadataSlots,
  WireError,
} from '../sources/envoy/als/index.ts';
import { statusOf } from './status.ts';

/** An Envoy has one stream for each log and thread. */
const MAX_STREAMS = 2000;
/** Callers that are kept as one object each, so that a report finds them without making their text. */
const MAX_CALLERS = 10_000;
/** The control plane believes nothing older; milliseconds. */
const OLDEST_MS = 7 * 86_400_000;
const SLOTS = metadataSlots(RBAC_FILTERS);
const EMPTY = Buffer.alloc(0);

export interface EnvoyLogsOptions {
  readonly workload: SpiffeId;
  readonly timers: { now(): number; after(ms: number, run: () => void): () => void };
  readonly recorder: AccessRecorder;
  /** Counts accesses that are in no report. */
  readonly lose: (n: number) => void;
  /** A stream that was not taken, or ended from here. */
  readonly onRefused: (error: unknown) => void;
}

/** What was made of Envoy's access logs. */
export interface LogsStatus {
  readonly streams: number;
  /** Entries that became evidence. */
  readonly taken: number;
  /** Entries that were left out, by reason. */
  readonly skipped: Readonly<Record<string, number>>;
}

/** Takes the access logs of the Envoy beside it as what the workload served. */
export class EnvoyLogs {
  readonly #options: EnvoyLogsOptions;
  readonly #streams = new Set<LogStream>();
  readonly #skipped = new Map<string, number>();
  readonly #callers = new Map<string, Caller>();
  #taken = 0;

  constructor(options: EnvoyLogsOptions) {
    this.#options = options;
  }

  /** What grpc-js takes, with `accessLogService`. */
  implementation(): UntypedServiceImplementation {
    return { streamAccessLogs: (call: LogCall, done: sendUnaryData<Buffer>) => this.#open(call, done) };
  }

  get status(): LogsStatus {
    const { size: streams } = this.#streams;
    return { streams, taken: this.#taken, skipped: Object.fromEntries(this.#skipped) };
  }

  #open(call: LogCall, done: sendUnaryData<Buffer>): void {
    const { timers, workload, onRefused } = this.#options;
    if (this.#streams.size >= MAX_STREAMS) {
      call.on('error', () => {});
      const error = new InterlockError('limit', workload, `${MAX_STREAMS} streams of access logs are open`);
      onRefused(error);
      return done(statusOf(error));
    }
    const stream = new LogStream({
      call,
      timers,
      slots: SLOTS,
      begin: (identifier) => this.#begin(identifier),
      onEnd: (cause) => {
        if (cause === undefined) return done(null, EMPTY);
        const error = faultOf(cause);
        onRefused(error);
        done(statusOf(error));
      },
    });
    this.#streams.add(stream);
    const leave = () => this.#streams.delete(stream);
    call.on('cancelled', leave);
    call.on('close', leave);
  }

  #begin(identifier: LogMessage['identifier']): LogTaker {
    const { workload } = this.#options;
    const name = parseLogName(identifier?.logName ?? '');
    if (name === undefined || name.port > 65_535)
      throw new InterlockError(
        'usage',
        workload,
        'the first message of a stream of access logs names a log of ours: take the bootstrap and listeners from here',
      );
    if (name.workload !== workload)
      throw new InterlockError(
        'forbidden',
        name.workload,
        `this relay reports of ${workload}, not of ${name.workload}`,
      );
    const { kind, port, version } = name;
    return {
      about: { kind, port, isGrpcCluster },
      add: (call, now, routeName) => this.#add(call, port, now, targetVersionOf(version ?? routeName)),
      skip: (reason) => this.#skip(reason),
      flush: () => {},
    };
  }

  #add(
    call: LoggedCall | LoggedPlaintext,
    port: number,
    now: number,
    targetVersion: number | undefined,
  ): void {
    const { workload, recorder } = this.#options;
    const at = this.#timeOf(call, now);
    if (at === undefined) return;
    this.#taken++;
    if ('plaintextFrom' in call) {
      const from = call.plaintextFrom;
      const principal = { kind: 'unauthenticated', from } as const;
      const caller = this.#caller({ principal, address: from, port: 0, isMutual: false });
      return recorder.plaintext(workload, caller, port, at);
    }
    const { from, address, action, outcome, isMutual, isPlaintext, refused, before, after } = call;
    // The log does not say which group a handshake had; that there was one is what tells it from plain text.
    const caller = { principal: from, address, port: 0, isMutual, ...(isPlaintext ? {} : { group: '' }) };
    const version = targetVersion === undefined ? {} : { targetVersion };
    recorder.record({
      workload,
      caller: this.#caller(caller),
      action,
      judgement: { allowed: !refused, before, ...(after === undefined ? {} : { after, ...version }) },
      outcome,
      at,
    });
  }

  /** When it counts: a call that began too long ago (a connection of weeks) counts when it ended. */
  #timeOf(call: LoggedCall | LoggedPlaintext, now: number): number | undefined {
    const oldest = now - OLDEST_MS;
    const time = call.at >= oldest || !('endedAt' in call) ? call.at : call.endedAt;
    if (time >= oldest) return Math.min(time, now);
    this.#skip('a time that is too far from now');
    this.#options.lose(1);
    return undefined;
  }

  #caller(caller: Caller): Caller {
    const { principal, address, isMutual, group } = caller;
    const who = principal.kind === 'workload' ? principal.id : '';
    const key = `${who} ${address} ${isMutual} ${group}`;
    const known = this.#callers.get(key);
    if (known !== undefined) return known;
    if (this.#callers.size >= MAX_CALLERS) this.#callers.clear();
    this.#callers.set(key, caller);
    return caller;
  }

  #skip(reason: string): void {
    this.#skipped.set(reason, 1 + (this.#skipped.get(reason) ?? 0));
  }
}

function faultOf(error: unknown): unknown {
  if (isInterlockError(error) || !(error instanceof WireError)) return error;
  return new InterlockError('usage', 'access logs', `access logs that are no such message: ${error.message}`);
}
