import { hash } from 'node:crypto';
import type { AccessPolicy, Rule } from '../../policy/index.ts';
import { canonicalJson, type Json } from '../../store/index.ts';

/** A target set is never changed, only replaced by another one. */
const known = new WeakMap<readonly AccessPolicy[], string>();

/**
 * Names exactly one target set: whatever order its policies stand in, and whatever its rules are said to rest on, which
 * changes no verdict. An approval is of this.
 */
export function targetHash(target: readonly AccessPolicy[]): string {
  let text = known.get(target);
  if (text === undefined) {
    const plain = target.map(withoutEvidence).sort();
    // 192 bits: of a shorter name whoever writes policies could make two targets at home, one to be approved and one to apply.
    text = hash('sha256', `target\n${plain.join('\n')}`, 'hex').slice(0, 48);
    known.set(target, text);
  }
  return text;
}

/** SHA-256 in hex, cut to 96 bits: to find two texts with one digest takes 2^48 of them, and callers send no such number. */
export function shortDigest(text: string): string {
  return hash('sha256', text, 'hex').slice(0, 24);
}

function withoutEvidence(policy: AccessPolicy): string {
  // JSON leaves out what is undefined.
  const plain = (rules: readonly Rule[]) => rules.map((rule) => ({ ...rule, evidence: undefined }));
  const { rules, deny, ...spec } = policy.spec;
  const whole = { ...policy, spec: { ...spec, rules: plain(rules), deny: plain(deny) } };
  const data: Json = JSON.parse(JSON.stringify(whole));
  return canonicalJson(data);
}
