import { hash } from 'node:crypto';
import { actionText, type Evidence, hourOfWeek, hoursOf, outcomesOf } from '../../access/index.ts';
import type { AccessShown } from '../../api/index.ts';
import type { JudgedAccess } from './judged.ts';

type EvidenceShown = Pick<
  AccessShown,
  | 'firstSeen'
  | 'lastSeen'
  | 'days'
  | 'hoursOfWeek'
  | 'instances'
  | 'sources'
  | 'outcomes'
  | 'mutual'
  | 'plaintext'
>;

/** Characters of JSON that are kept at most: 40,000 accesses with all hours of the week. */
const MOST_KEPT = 64 * 1024 * 1024;

/** The accesses of one callee. */
interface Shown {
  readonly accesses: readonly JudgedAccess[];
}

/** The JSON of accesses, each made once: an access that has changed is another object. */
export class AccessTexts {
  /** By the access: what nobody shows any more goes with it. */
  #texts = new WeakMap<JudgedAccess, string>();
  #length = 0;

  /** Characters that are kept, as far as is known. */
  get length(): number {
    return this.#length;
  }

  of(access: JudgedAccess): string {
    let text = this.#texts.get(access);
    if (text === undefined) {
      text = accessJson(access);
      this.#length += text.length;
      if (this.#length > MOST_KEPT) {
        this.#texts = new WeakMap();
        this.#length = text.length;
      }
      this.#texts.set(access, text);
    }
    return text;
  }

  /** Lets go of what was shown of callees that are judged anew: of their accesses that are no longer there. */
  *keep(
    now: ReadonlyMap<string, Shown>,
    before: ReadonlyMap<string, Shown> | undefined,
  ): Generator<void, void> {
    if (this.#length === 0) return;
    for (const [to, old] of before ?? []) {
      const callee = now.get(to);
      if (callee === old) continue;
      const kept = new Set(callee?.accesses);
      for (const access of old.accesses) if (!kept.has(access)) this.#forget(access);
      yield;
    }
  }

  #forget(access: JudgedAccess): void {
    this.#length -= this.#texts.get(access)?.length ?? 0;
    this.#texts.delete(access);
  }
}

/** A stable name of an access: the same caller, callee and action have the same. */
export function accessId(key: string): string {
  return hash('sha1', key, 'base64url').slice(0, 16);
}

/** An access as the API shows it, as JSON. */
export function accessJson(judged: JudgedAccess): string {
  const { key, from, to, action, views, state, authentication, count, today, target, approximate, access } =
    judged;
  const head: Omit<AccessShown, keyof EvidenceShown> = {
    id: accessId(key),
    from,
    to,
    action,
    text: actionText(action),
    views: [...views],
    state,
    authentication,
    count,
    ...(today === undefined ? {} : { today }),
    ...(target === undefined ? {} : { target }),
    ...(approximate.length === 0 ? {} : { approximate: [...approximate] }),
    ...(access === undefined || access.declared.length === 0 ? {} : { declared: [...access.declared] }),
    ...(access?.collapsed === true ? { isCollapsed: true } : {}),
  };
  return `${JSON.stringify(head).slice(0, -1)},${(access === undefined ? NO_EVIDENCE : JSON.stringify(evidenceShown(access.evidence))).slice(1)}`;
}

function evidenceShown(evidence: Evidence): EvidenceShown {
  const hours = hoursOf(evidence);
  let days = 0;
  let last = Number.NaN;
  const week = new Uint8Array(168);
  for (const hour of hours) {
    const day = Math.floor(hour / 24);
    if (day !== last) days++;
    last = day;
    week[hourOfWeek(hour)] = 1;
  }
  const hoursOfWeek: number[] = [];
  for (const [hour, isCovered] of week.entries()) if (isCovered === 1) hoursOfWeek.push(hour);
  return {
    ...(Number.isFinite(evidence.firstSeen) ? { firstSeen: evidence.firstSeen } : {}),
    ...(Number.isFinite(evidence.lastSeen) ? { lastSeen: evidence.lastSeen } : {}),
    days,
    hoursOfWeek,
    instances: [...evidence.instances],
    sources: [...evidence.sources],
    outcomes: outcomesOf(evidence),
    mutual: evidence.mutual,
    plaintext: evidence.plaintext,
  };
}

const NO_EVIDENCE = JSON.stringify({
  days: 0,
  hoursOfWeek: [],
  instances: [],
  sources: [],
  outcomes: { ok: 0, error: 0, failed: 0, denied: 0 },
  mutual: 0,
  plaintext: 0,
} satisfies EvidenceShown);
