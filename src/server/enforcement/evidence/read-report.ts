import { isIP } from 'node:net';
import {
  type Action,
  HOUR_MS,
  InterlockError,
  isInterlockError,
  MAX_PATH_LENGTH,
  type Outcome,
  OUTCOMES,
  type Principal,
  recordedPath,
  type SpiffeId,
  spiffeIdOf,
} from '../../../access/index.ts';
import { DECIDED_BY, type Verdict } from '../../../policy/index.ts';
import type {
  Accesses,
  Action as ActionMessage,
  Caller,
  Flips,
  PlaintextCaller as PlaintextMessage,
  Report,
  Unreached as UnreachedMessage,
  Verdict as VerdictMessage,
} from '../../../proto/proxy/index.ts';
import { UNREACHED_REASONS } from '../../../store/index.ts';
import type { PlaintextCaller, Reported, ReportedAccess, SeenFlip, UnreachedCalls } from './intake.ts';

/** Longest name of a method, service or rule that is believed. */
const MAX_TEXT = 2048;
/** Longest name of a caller's instance (of a pod, a host: 253 characters): many are kept with every access. */
const MAX_INSTANCE = 253;
/** Longest address: an IPv6 one with its zone. What `isIP` takes for a zone may be of any length. */
const MAX_ADDRESS = 64;
/** No parser of HTTP lets these through, and no name has them: in lists and logs they would forge lines. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;
/** Longest sentence for people that is kept; more of it is cut off. */
const MAX_DETAIL = 500;
/** Most of anything in one entry: no proxy serves as much between two reports. Sums of them stay whole numbers. */
const MAX_COUNT = 1_000_000_000;
const MAX_EPOCH_BYTES = 32;
/** Names of groups, as TLS libraries have them; what is none says nothing. */
const GROUP = /^[A-Za-z0-9_.:-]{1,40}$/;
/**
 * How far a proxy's clock may be ahead: nothing it saw can have been later than now, so times up to here are taken for
 * now. What lies beyond says nothing of the hour it happened in: it is left out, and counted as lost.
 */
export const MAX_AHEAD_MS = 10 * 60_000;
/**
 * How old a report may be: as long as a proxy may be cut off. What is older could make up a calendar that nobody watched, for
 * the whole estate.
 */
export const MAX_BEHIND_MS = 7 * 86_400_000;

/**
 * Reads a report, checked once. Entries that cannot be believed are left out, and their calls counted as lost: a newer proxy
 * may say what this program does not know, and must not send it for ever. `identity` is the reporter's. Throws `usage` for a
 * report without a number.
 */
export function readReport(report: Report, now: number, identity: SpiffeId): Reported {
  const { epoch, sequence } = report;
  if (epoch.length === 0 || epoch.length > MAX_EPOCH_BYTES) throw wrong('epoch');
  if (sequence < 1n || sequence > BigInt(Number.MAX_SAFE_INTEGER)) throw wrong('sequence');
  const skips = new Map<string, { count: number; sample: string }>();
  let lost = 0;
  const readAll = <From, To>(
    entries: readonly From[],
    read: (entry: From) => To,
    calls: (entry: From) => number,
  ) =>
    entries.flatMap((entry) => {
      try {
        return [read(entry)];
      } catch (error) {
        if (!isInterlockError(error)) throw error;
        lost += calls(entry);
        const known = skips.get(error.message);
        skips.set(error.message, { count: 1 + (known?.count ?? 0), sample: known?.sample ?? error.subject });
        return [];
      }
    });
  const accesses = readAll(report.accesses, (entry) => readAccess(entry, now), callsOf);
  // Their calls are among the accesses.
  const flips = readAll(
    report.flips,
    (entry) => readFlip(entry, now),
    () => 0,
  );
  const plaintext = readAll(
    report.plaintext,
    (entry) => readPlaintext(entry, now),
    () => 0,
  );
  // They are no accesses: none is lost with one that is not believed.
  const unreached = readAll(
    report.unreached,
    (entry) => readUnreached(entry, now, identity),
    () => 0,
  );
  lost += clipped(report.lost);
  return {
    mark: { epoch: Buffer.from(epoch).toString('hex'), sequence: Number(sequence) },
    accesses,
    flips,
    plaintext,
    ...(unreached.length === 0 ? {} : { unreached }),
    lost,
    skips,
  };
}

function readAccess(access: Accesses, now: number): ReportedAccess {
  const [ok, error, failed, denied] = OUTCOMES.map((outcome) => countOf(access[outcome])) as [
    number,
    number,
    number,
    number,
  ];
  const calls = ok + error + failed + denied;
  if (calls === 0) throw wrong('count');
  const mutual = Math.min(countOf(access.mutual), calls);
  const times = timesOf(access, now);
  return {
    from: principalOf(access.from),
    to: workloadOf(access.to),
    action: actionOf(access.action),
    outcomes: { ok, error, failed, denied },
    mutual,
    plaintext: Math.min(countOf(access.plaintext), calls - mutual),
    instance: textOf(access.instance, 'instance', MAX_INSTANCE),
    ...(GROUP.test(access.group) ? { group: access.group } : {}),
    // Calls are counted in the hour of the last of them.
    firstSeen: Math.max(times.firstSeen, times.lastSeen - (times.lastSeen % HOUR_MS)),
    lastSeen: times.lastSeen,
  };
}

function readFlip(flip: Flips, now: number): SeenFlip {
  const count = countOf(flip.count);
  if (count === 0) throw wrong('count');
  return {
    from: principalOf(flip.from),
    to: workloadOf(flip.to),
    action: actionOf(flip.action),
    before: verdictOf(flip.before),
    after: verdictOf(flip.after),
    refused: flip.refused,
    ...targetVersionOf(flip),
    count,
    ...timesOf(flip, now),
  };
}

/** What is no version that this program gave is none. */
function targetVersionOf({ targetVersion }: Flips): Pick<SeenFlip, 'targetVersion'> {
  const isOurs = targetVersion > 0n && targetVersion <= BigInt(Number.MAX_SAFE_INTEGER);
  return isOurs ? { targetVersion: Number(targetVersion) } : {};
}

function readPlaintext(caller: PlaintextMessage, now: number): PlaintextCaller {
  const workload = caller.from === undefined ? undefined : spiffeIdOf(caller.from.workload);
  return {
    to: workloadOf(caller.to),
    port: portOf(caller.port),
    from: addressOf(caller.from),
    ...(workload === undefined ? {} : { workload }),
    connections: countOf(caller.connections),
    ...timesOf(caller, now),
  };
}

function readUnreached(calls: UnreachedMessage, now: number, identity: SpiffeId): UnreachedCalls {
  const reason = UNREACHED_REASONS.find((each) => each === calls.reason);
  if (reason === undefined) throw wrong('reason');
  const count = countOf(calls.count);
  if (count === 0) throw wrong('count');
  return {
    from: calls.workload === '' ? identity : workloadOf(calls.workload),
    peer: workloadOf(calls.peer),
    host: nameOf(calls.host, 'host'),
    port: portOf(calls.port),
    reason,
    // It goes to terminals: what is no text there is none.
    detail: calls.detail.slice(0, MAX_DETAIL).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' '),
    count,
    ...timesOf(calls, now),
  };
}

function principalOf(caller: Caller | undefined): Principal {
  if (caller === undefined || caller.spiffeId === '')
    return { kind: 'unauthenticated', from: addressOf(caller) };
  return { kind: 'workload', id: workloadOf(caller.spiffeId) };
}

function addressOf(caller: Caller | undefined): string {
  const { address = '' } = caller ?? {};
  return address.length <= MAX_ADDRESS && isIP(address) !== 0 ? address : 'unknown';
}

function actionOf(action: ActionMessage | undefined): Action {
  const { kind = '', port: number = 0, name = '', text = '' } = action ?? {};
  const port = portOf(number);
  if (kind === 'tcp') return { kind, port };
  if (kind === 'http' && text.length <= MAX_PATH_LENGTH)
    return { kind, port, method: nameOf(name, 'method'), path: pathOf(text) };
  if (kind === 'grpc')
    return { kind, port, service: nameOf(name, 'service'), method: nameOf(text, 'method') };
  throw wrong('action');
}

/** A path as it was on the wire; only this program says that it has collapsed one. */
function pathOf(text: string): string {
  const path = recordedPath(text);
  if ((path[0] !== '/' && path !== '*') || CONTROL.test(path)) throw wrong('path');
  return path;
}

function verdictOf(verdict: VerdictMessage | undefined): Verdict {
  const decidedBy = DECIDED_BY.find((each) => each === verdict?.decidedBy);
  if (verdict === undefined || decidedBy === undefined) throw wrong('verdict');
  const { allowed, policy, rule } = verdict;
  return {
    allowed,
    decidedBy,
    ...(policy === '' ? {} : { policy: textOf(policy, 'policy') }),
    ...(rule === '' ? {} : { rule: textOf(rule, 'rule') }),
  };
}

function workloadOf(text: string): SpiffeId {
  const id = spiffeIdOf(text);
  if (id === undefined) throw wrong('workload');
  return id;
}

function timesOf(times: { firstSeen: bigint; lastSeen: bigint }, now: number) {
  const [first, last] = [Number(times.firstSeen), Number(times.lastSeen)];
  if (last > now + MAX_AHEAD_MS || first > last) throw wrong('time');
  if (first < now - MAX_BEHIND_MS) throw wrong('time');
  return { firstSeen: Math.min(first, now), lastSeen: Math.min(last, now) };
}

function callsOf(access: Accesses): number {
  return OUTCOMES.reduce((sum: number, outcome: Outcome) => sum + clipped(access[outcome]), 0);
}

function clipped(n: bigint): number {
  return n > BigInt(MAX_COUNT) ? MAX_COUNT : Number(n);
}

function countOf(n: bigint): number {
  if (n > BigInt(MAX_COUNT)) throw wrong('count');
  return Number(n);
}

function portOf(port: number): number {
  if (port > 65_535) throw wrong('port');
  return port;
}

/** A name that separates fields nowhere: keys of actions are texts. */
function nameOf(text: string, field: string): string {
  if (text === '' || /\s/.test(text)) throw wrong(field);
  return textOf(text, field);
}

function textOf(text: string, field: string, longest = MAX_TEXT): string {
  if (text.length > longest || CONTROL.test(text)) throw wrong(field);
  return text;
}

function wrong(field: string): InterlockError {
  return new InterlockError('usage', field, `an entry of a proxy without a valid "${field}"`);
}
