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

/** The JSON of accesses, each made once: an access that has changed is another object. */
export class AccessTexts {
  #texts = new Map<JudgedAccess, string>();
  #length = 0;

  /** How many are kept. */
  get size(): number {
    return this.#texts.size;
  }

  of(access: JudgedAccess): string {
    let text = this.#texts.get(access);
    if (text === undefined) {
      text = accessJson(access);
      this.#length += text.length;
      if (this.#length > MOST_KEPT) {
        this.#texts.clear();
        this.#length = text.length;
      }
      this.#texts.set(access, text);
    }
    return text;
  }

  /** Lets go of accesses that are not among those that there are now. */
  *keep(now: Iterable<JudgedAccess>): Generator<void, void> {
    if (this.#texts.size === 0) return;
    const kept = new Map<JudgedAccess, string>();
    let length = 0;
    for (const access of now) {
      const text = this.#texts.get(access);
      if (text === undefined) continue;
      kept.set(access, text);
      length += text.length;
      yield;
    }
    this.#texts = kept;
    this.#length = length;
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
  return {
    ...(Number.isFinite(evidence.firstSeen) ? { firstSeen: evidence.firstSeen } : {}),
    ...(Number.isFinite(evidence.lastSeen) ? { lastSeen: evidence.lastSeen } : {}),
    days: new Set(hours.map((hour) => Math.floor(hour / 24))).size,
    hoursOfWeek: [...new Set(hours.map(hourOfWeek))].sort((a, b) => a - b),
    instances: [...evidence.instances].sort(),
    sources: [...evidence.sources].sort(),
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
