import { actionKey, HOUR_MS, type Outcome, principalText, type SpiffeId } from '../../../access/index.ts';
import type { LoggedCall, LoggedPlaintext } from '../../../sources/envoy/als/index.ts';
import { flipKey } from '../../../store/index.ts';
import type { PlaintextCaller, Reported, ReportedAccess, SeenFlip } from './intake.ts';
import { MAX_AHEAD_MS, MAX_BEHIND_MS } from './read-report.ts';

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Counter = Mutable<Omit<ReportedAccess, 'outcomes'>> & { readonly outcomes: Record<Outcome, number> };

/** Adds up what access logs say of one workload, until it is taken. */
export class LoggedCalls {
  readonly #to: SpiffeId;
  readonly #port: number;
  #accesses = new Map<string, Counter>();
  #flips = new Map<string, Mutable<SeenFlip>>();
  #plaintext = new Map<string, Mutable<PlaintextCaller>>();
  #skips = new Map<string, { count: number; readonly sample: string }>();
  #lost = 0;

  constructor(to: SpiffeId, port: number) {
    this.#to = to;
    this.#port = port;
  }

  /** `targetVersion` is that of the target set whose verdict the call carries, where known. */
  add(call: LoggedCall | LoggedPlaintext, now: number, targetVersion?: number): void {
    const at = this.#timeOf(call, now);
    if (at === undefined) return;
    if ('plaintextFrom' in call) this.#connection(call.plaintextFrom, at);
    else this.#call(call, at, targetVersion);
  }

  /** Counts an entry that was left out. */
  skip(reason: string, sample = ''): void {
    const known = this.#skips.get(reason);
    if (known === undefined) this.#skips.set(reason, { count: 1, sample });
    else known.count++;
  }

  /** Everything since the last time. */
  take(): Reported {
    const taken: Reported = {
      accesses: [...this.#accesses.values()],
      flips: [...this.#flips.values()],
      plaintext: [...this.#plaintext.values()],
      lost: this.#lost,
      skips: this.#skips,
    };
    this.#accesses = new Map();
    this.#flips = new Map();
    this.#plaintext = new Map();
    this.#skips = new Map();
    this.#lost = 0;
    return taken;
  }

  /** When it counts; a call that began too long ago (a connection of weeks) counts when it ended. */
  #timeOf(call: LoggedCall | LoggedPlaintext, now: number): number | undefined {
    const { at } = call;
    const oldest = now - MAX_BEHIND_MS;
    const time = at >= oldest || !('endedAt' in call) ? at : call.endedAt;
    if (time >= oldest && time <= now + MAX_AHEAD_MS) return Math.min(time, now);
    this.skip('a time that is too far from now');
    this.#lost++;
    return undefined;
  }

  #call(call: LoggedCall, at: number, targetVersion: number | undefined): void {
    const { from, address, action, outcome, isMutual, isPlaintext, refused, before, after = before } = call;
    const key = `${Math.floor(at / HOUR_MS)} ${address} ${principalText(from)} ${actionKey(action)}`;
    let counter = this.#accesses.get(key);
    if (counter === undefined) {
      const outcomes = { ok: 0, error: 0, failed: 0, denied: 0 };
      const counts = { outcomes, mutual: 0, plaintext: 0, firstSeen: at, lastSeen: at };
      this.#accesses.set(key, (counter = { from, to: this.#to, action, instance: address, ...counts }));
    }
    counter.outcomes[outcome]++;
    if (isMutual) counter.mutual++;
    else if (isPlaintext) counter.plaintext++;
    spread(counter, at);
    if (!refused && before.allowed === after.allowed) return;
    const flip = {
      from,
      to: this.#to,
      action,
      before,
      after,
      refused,
      ...(targetVersion === undefined ? {} : { targetVersion }),
      count: 1,
      firstSeen: at,
      lastSeen: at,
    };
    const known = this.#flips.get(flipKey(flip));
    if (known === undefined) this.#flips.set(flipKey(flip), flip);
    else {
      known.count++;
      spread(known, at);
    }
  }

  #connection(from: string, at: number): void {
    const known = this.#plaintext.get(from);
    if (known === undefined) {
      const caller = { to: this.#to, port: this.#port, from, connections: 1, firstSeen: at, lastSeen: at };
      this.#plaintext.set(from, caller);
      return;
    }
    known.connections++;
    spread(known, at);
  }
}

function spread(times: { firstSeen: number; lastSeen: number }, at: number): void {
  if (at < times.firstSeen) times.firstSeen = at;
  if (at > times.lastSeen) times.lastSeen = at;
}
