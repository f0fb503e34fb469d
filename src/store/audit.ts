import { createHash } from 'node:crypto';
import type { Json } from './identity-store.ts';

/** What is to be written into the audit log. */
export interface NewAuditEntry {
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
  /** Who did it: `uid:0`, an agent's SPIFFE ID, `system`. */
  readonly who: string;
  /** What was done, as a closed word: `rule.put`, `authority.taint`. */
  readonly act: string;
  /** The name of what it was done to. */
  readonly what: string;
  /** Never a secret. */
  readonly details: Json;
}

/** An entry as it stands in the log, chained to the one before it. */
export interface AuditEntry extends NewAuditEntry {
  /** 1, 2, 3, ... without a gap. */
  readonly seq: number;
  /** `hash` of the entry before; 64 zeros for the first. */
  readonly previous: string;
  /** SHA-256 in hex over {@link canonicalJson} of all other fields. */
  readonly hash: string;
}

/** Where a log stops being what was written. */
export interface AuditFault {
  readonly seq: number;
  readonly reason: 'changed' | 'missing' | 'unreadable';
}

/** `previous` of the first entry. */
export const FIRST_PREVIOUS = '0'.repeat(64);

/** JSON with the keys of every object in code-unit order and no white space: one text for equal values. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const fields = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] ?? null)}`);
  return `{${fields.join(',')}}`;
}

// Array.isArray does not narrow a readonly array out of a union.
const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

/** The entry as it follows `last`, with its number and hash. */
export function chained(entry: NewAuditEntry, last: { seq: number; hash: string } | undefined): AuditEntry {
  const { at, who, act, what, details } = entry;
  const open = {
    seq: (last?.seq ?? 0) + 1,
    at,
    who,
    act,
    what,
    details,
    previous: last?.hash ?? FIRST_PREVIOUS,
  };
  return { ...open, hash: hashOf(open) };
}

/** The hash that the entry should have. */
export function hashOf(entry: Omit<AuditEntry, 'hash'>): string {
  const { seq, at, who, act, what, details, previous } = entry;
  const text = canonicalJson({ seq, at, who, act, what, details, previous });
  return createHash('sha256').update(text).digest('hex');
}
