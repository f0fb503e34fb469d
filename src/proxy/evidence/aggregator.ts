import { create } from '@bufbuild/protobuf';
import { type Action, HOUR_MS, OUTCOMES, type Principal, type SpiffeId } from '../../access/index.ts';
import type { Verdict } from '../../policy/index.ts';
import { type Report, ReportSchema } from '../../proto/proxy/index.ts';
import type { AccessRecorder, Caller, Judgement, ServedAccess, UnreachedCall } from '../types.ts';

/** Different accesses in one report. More of them are counted as lost: memory is bounded whatever is asked for. */
export const MAX_ENTRIES = 20_000;
/** Characters of their actions: paths may be long. */
const MAX_TEXT = 16 * 1024 * 1024;
/** What one caller may take of both: whoever asks for a new path each time must not push out what others did. */
const SHARE_OF_ONE = 0.25;

/** Different calls that did not arrive, in one report. */
const MAX_UNREACHED = 2000;
/** Characters of why one did not. */
const MAX_DETAIL = 500;

const NO_POLICY: Verdict = { allowed: true, decidedBy: 'no-policy' };

/** What one caller did, over all its connections. */
interface OfCaller {
  readonly accesses: Map<string, Counter>;
  readonly room: Room;
}

interface Room {
  entries: number;
  text: number;
}

interface Counter {
  readonly caller: Caller;
  readonly workload: SpiffeId;
  readonly action: Action;
  readonly hour: number;
  /** In the order of OUTCOMES. */
  readonly outcomes: [number, number, number, number];
  firstSeen: number;
  lastSeen: number;
}

interface FlipCounter {
  readonly caller: Caller;
  readonly workload: SpiffeId;
  readonly action: Action;
  readonly judgement: Judgement;
  count: number;
  firstSeen: number;
  lastSeen: number;
}

interface PlaintextCounter {
  readonly caller: Caller;
  readonly workload: SpiffeId;
  readonly port: number;
  connections: number;
  firstSeen: number;
  lastSeen: number;
}

interface UnreachedCounter {
  /** The last one. */
  call: UnreachedCall;
  count: number;
  firstSeen: number;
  lastSeen: number;
}

/** A request whose verdicts differ, or that was denied. */
type Flipped = Omit<ServedAccess, 'outcome' | 'judgement'> & { readonly judgement: Judgement };

/** What a report is made of, with the number of calls that are lost with it. */
export interface Drained {
  readonly report: Report;
  readonly calls: number;
}

/**
 * Adds up what the proxy serves until it is drained. Connections keep one {@link Caller} for all their requests, so its text
 * is made once for each connection, and connections of the same caller are one.
 */
export class Aggregator implements AccessRecorder {
  /** By connection; and by caller: whoever connects anew for each request is one entry all the same. */
  #connections = new Map<Caller, OfCaller>();
  #callers = new Map<string, OfCaller>();
  #rooms = new Map<string, Room>();
  #flips = new Map<string, FlipCounter>();
  #plaintext = new Map<string, PlaintextCounter>();
  #unreached = new Map<string, UnreachedCounter>();
  #entries = 0;
  #text = 0;
  #lost = 0;
  #calls = 0;

  record({ workload, caller, action, judgement, outcome, at }: ServedAccess): void {
    const hour = Math.floor(at / HOUR_MS);
    const key = keyOf(workload, action, hour);
    const { accesses, room } = this.#of(caller);
    let counter = accesses.get(key);
    if (counter === undefined) {
      if (!this.#takeRoom(room, key)) return;
      counter = { caller, workload, action, hour, outcomes: [0, 0, 0, 0], firstSeen: at, lastSeen: at };
      accesses.set(key, counter);
    }
    counter.outcomes[OUTCOMES.indexOf(outcome) as 0 | 1 | 2 | 3]++;
    spread(counter, at);
    this.#calls++;
    if (judgement === undefined) return;
    const { after } = judgement;
    if (!judgement.allowed || (after !== undefined && after.allowed !== judgement.before.allowed))
      this.#flip(key, room, { workload, caller, action, judgement, at });
  }

  plaintext(workload: SpiffeId, caller: Caller, port: number, at: number): void {
    const key = `${workload}\n${port}\n${caller.address}\n${caller.workload ?? ''}`;
    let counter = this.#plaintext.get(key);
    if (counter === undefined) {
      if (!this.#takeRoom(this.#of(caller).room, key)) return;
      counter = { caller, workload, port, connections: 0, firstSeen: at, lastSeen: at };
      this.#plaintext.set(key, counter);
    }
    counter.connections++;
    spread(counter, at);
  }

  unreached(call: UnreachedCall): void {
    const { workload = '', peer, to, reason, at } = call;
    const key = `${workload}\n${peer}\n${to.host}\n${to.port}\n${reason}`;
    let counter = this.#unreached.get(key);
    if (counter === undefined) {
      // There are as many as routes and workloads of this proxy. They are no accesses: none is lost with what has no room,
      // and the proxy's counters have all.
      if (this.#unreached.size >= MAX_UNREACHED) return;
      counter = { call, count: 0, firstSeen: at, lastSeen: at };
      this.#unreached.set(key, counter);
    }
    counter.call = call;
    counter.count++;
    spread(counter, at);
  }

  /** Counts accesses that are in no report. */
  lose(n: number): void {
    this.#lost += n;
  }

  /** All since the last time, or undefined where there was nothing. Its number and epoch are the spool's. */
  drain(): Drained | undefined {
    if (this.#entries === 0 && this.#lost === 0 && this.#unreached.size === 0) return undefined;
    const report = create(ReportSchema, {
      lost: BigInt(this.#lost),
      accesses: [...this.#callers.values()].flatMap((each) => [...each.accesses.values()].map(accessMessage)),
      flips: [...this.#flips.values()].map(flipMessage),
      plaintext: [...this.#plaintext.values()].map((counter) => ({
        from: callerMessage(counter.caller),
        to: counter.workload,
        port: counter.port,
        connections: BigInt(counter.connections),
        ...timesMessage(counter),
      })),
      unreached: [...this.#unreached.values()].map(unreachedMessage),
    });
    const calls = this.#calls;
    this.#connections = new Map();
    this.#callers = new Map();
    this.#rooms = new Map();
    this.#flips = new Map();
    this.#plaintext = new Map();
    this.#unreached = new Map();
    this.#entries = 0;
    this.#text = 0;
    this.#lost = 0;
    this.#calls = 0;
    return { report, calls };
  }

  #of(caller: Caller): OfCaller {
    const known = this.#connections.get(caller);
    if (known !== undefined) return known;
    const key = callerKey(caller);
    const who = whoOf(caller);
    const room = this.#rooms.get(who) ?? { entries: 0, text: 0 };
    const ofCaller = this.#callers.get(key) ?? { accesses: new Map<string, Counter>(), room };
    // Where nothing has room any more nobody need be known.
    if (this.#entries < MAX_ENTRIES) {
      this.#rooms.set(who, room);
      this.#callers.set(key, ofCaller);
      this.#connections.set(caller, ofCaller);
    }
    return ofCaller;
  }

  #flip(accessKey: string, room: Room, flip: Flipped): void {
    const { caller, judgement, at } = flip;
    const { before, after = before, targetVersion } = judgement;
    const from = whoOf(caller);
    const verdicts = `${judgement.allowed}\n${verdictKey(before)}\n${verdictKey(after)}\n${targetVersion}`;
    const key = `${accessKey}\n${from}\n${verdicts}`;
    let counter = this.#flips.get(key);
    if (counter === undefined) {
      if (!this.#takeRoom(room, key)) return;
      const { workload, action } = flip;
      counter = { caller, workload, action, judgement, count: 0, firstSeen: at, lastSeen: at };
      this.#flips.set(key, counter);
    }
    counter.count++;
    spread(counter, at);
  }

  #takeRoom(own: Room, key: string): boolean {
    const hasRoom = this.#entries < MAX_ENTRIES && this.#text + key.length <= MAX_TEXT;
    const hasOwn =
      own.entries < MAX_ENTRIES * SHARE_OF_ONE && own.text + key.length <= MAX_TEXT * SHARE_OF_ONE;
    if (hasRoom && hasOwn) {
      own.entries++;
      own.text += key.length;
      this.#entries++;
      this.#text += key.length;
      return true;
    }
    this.#lost++;
    return false;
  }
}

function whoOf({ principal, address }: Caller): string {
  return principal.kind === 'workload' ? principal.id : address;
}

/** All of a caller that a report says; its port is another one for each connection. */
function callerKey(caller: Caller): string {
  const { principal, address, isMutual, group, workload } = caller;
  return `${principal.kind} ${whoOf(caller)} ${address} ${isMutual} ${group} ${workload}`;
}

function keyOf(workload: SpiffeId, action: Action, hour: number): string {
  switch (action.kind) {
    case 'http':
      return `${workload} ${hour} ${action.port} ${action.method} ${action.path}`;
    case 'grpc':
      return `${workload} ${hour} ${action.port} g ${action.service}/${action.method}`;
    case 'tcp':
      return `${workload} ${hour} ${action.port}`;
  }
}

function spread(counter: { firstSeen: number; lastSeen: number }, at: number): void {
  if (at < counter.firstSeen) counter.firstSeen = at;
  if (at > counter.lastSeen) counter.lastSeen = at;
}

function accessMessage({ caller, workload, action, hour, outcomes, ...times }: Counter) {
  const [ok, error, failed, denied] = outcomes.map(BigInt) as [bigint, bigint, bigint, bigint];
  const all = ok + error + failed + denied;
  return {
    from: callerMessage(caller),
    to: workload,
    action: actionMessage(action),
    hour,
    ok,
    error,
    failed,
    denied,
    mutual: caller.isMutual ? all : 0n,
    plaintext: caller.group === undefined && !caller.isMutual ? all : 0n,
    instance: caller.address,
    group: caller.group ?? '',
    ...timesMessage(times),
  };
}

function flipMessage({ caller, workload, action, judgement, count, ...times }: FlipCounter) {
  const { before, after = before, allowed, targetVersion = 0 } = judgement;
  return {
    from: callerMessage(caller),
    to: workload,
    action: actionMessage(action),
    before: verdictMessage(before),
    after: verdictMessage(after),
    count: BigInt(count),
    refused: !allowed,
    targetVersion: BigInt(targetVersion),
    ...timesMessage(times),
  };
}

function unreachedMessage({ call, count, ...times }: UnreachedCounter) {
  const { workload = '', peer, to, reason, detail } = call;
  return {
    workload,
    peer,
    host: to.host,
    port: to.port,
    reason,
    detail: detail.slice(0, MAX_DETAIL),
    count: BigInt(count),
    ...timesMessage(times),
  };
}

function callerMessage({ principal, address, workload }: Caller) {
  return { ...principalMessage(principal, address), workload: workload ?? '' };
}

function principalMessage(principal: Principal, address: string) {
  return principal.kind === 'workload'
    ? { spiffeId: principal.id as string, address: '' }
    : { spiffeId: '', address };
}

/** An action as it is reported: HTTP by method and path, gRPC by service and method. */
export function actionMessage(action: Action) {
  const { kind, port } = action;
  if (kind === 'http') return { kind, port, name: action.method, text: action.path };
  if (kind === 'grpc') return { kind, port, name: action.service, text: action.method };
  return { kind, port };
}

function verdictMessage({ allowed, decidedBy, policy = '', rule = '' }: Verdict = NO_POLICY) {
  return { allowed, decidedBy, policy, rule };
}

function verdictKey({ decidedBy, policy = '', rule = '' }: Verdict): string {
  return `${decidedBy} ${policy}/${rule}`;
}

function timesMessage({ firstSeen, lastSeen }: { firstSeen: number; lastSeen: number }) {
  return { firstSeen: BigInt(Math.floor(firstSeen)), lastSeen: BigInt(Math.floor(lastSeen)) };
}
