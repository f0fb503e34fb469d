import type { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import { readDocuments } from './documents.ts';
import { identityRuleSchema } from './rule-schema.ts';
import type { IdentityRule } from './types.ts';

/** Most rules in one text. */
export const MAX_RULES = 100_000;
/** Largest single rule in JSON, in bytes. */
export const MAX_RULE_BYTES = 256 * 1024;

/**
 * The IdentityRule documents of a YAML (or JSON) text. Anything that would mean something else than it says is
 * refused: throws `invalid_document` or `limit` with the rule's name, what is wrong and the line.
 */
export function readIdentityRules(text: string, file?: string): IdentityRule[] {
  const rules: IdentityRule[] = [];
  const seen = new Set<string>();
  for (const document of readDocuments(text, file)) {
    const checked = check(document.data);
    if ('problem' in checked) {
      const { reason, path, key } = checked.problem;
      throw document.refusal(reason, path, key);
    }
    const { name } = checked.rule.metadata;
    if (seen.has(name))
      throw document.refusal(`two rules are named "${name}": give one another name`, ['metadata', 'name']);
    seen.add(name);
    if (rules.push(checked.rule) > MAX_RULES)
      throw new InterlockError('limit', file ?? 'identity rules', `more than ${MAX_RULES} rules: split them`);
  }
  return rules;
}

/** One rule from plain data, as an API gets it. Throws `invalid_document` with the path of what is wrong. */
export function identityRuleOf(data: unknown): IdentityRule {
  const checked = check(data);
  if ('rule' in checked) return checked.rule;
  const { path, reason } = checked.problem;
  const where = path.length === 0 ? '' : `${path.join('.')}: `;
  throw new InterlockError('invalid_document', nameIn(data), `${where}${reason}`);
}

/** One rule from its JSON form on the wire. Throws `limit` or `invalid_document`. */
export function parseIdentityRule(json: Uint8Array): IdentityRule {
  if (json.byteLength > MAX_RULE_BYTES)
    throw new InterlockError('limit', 'identity rule', `a rule has at most ${MAX_RULE_BYTES} bytes`);
  let data: unknown;
  try {
    data = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    throw new InterlockError('invalid_document', 'identity rule', 'the rule is not JSON', { cause });
  }
  return identityRuleOf(data);
}

interface Problem {
  readonly path: readonly (string | number)[];
  readonly reason: string;
  /** The key itself, where it is the key that must not be there. */
  readonly key?: string | undefined;
}

function check(data: unknown): { readonly rule: IdentityRule } | { readonly problem: Problem } {
  const result = identityRuleSchema.safeParse(data);
  // zod writes optional fields as "or undefined"; the parsed value has no field with the value undefined.
  if (result.success) return { rule: result.data as IdentityRule };
  const [issue, ...more] = result.error.issues;
  if (issue === undefined) return { problem: { path: [], reason: 'it is not an IdentityRule' } };
  const path = issue.path.filter((key) => typeof key !== 'symbol');
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`;
  return {
    problem: {
      path,
      reason: `${reasonOf(issue, path)}${others}`,
      key: issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined,
    },
  };
}

function reasonOf(issue: z.core.$ZodIssue, path: readonly (string | number)[]): string {
  const key = path.findLast((part) => typeof part === 'string');
  const where = key === undefined ? 'the document' : `"${key}"`;
  switch (issue.code) {
    case 'unrecognized_keys':
      return `unknown key ${issue.keys.map((name) => `"${name.slice(0, 60)}"`).join(', ')}`;
    case 'too_small':
      return issue.origin === 'array' ? `${where} is empty` : `${where} is below ${issue.minimum}`;
    case 'too_big':
      return `${where} is above ${issue.maximum}${issue.origin === 'string' ? ' characters' : ''}`;
    case 'invalid_value':
      return `${where} is not ${issue.values.map((value) => `"${String(value)}"`).join(' or ')}`;
    case 'invalid_type':
      return `${where} is missing or not of type ${issue.expected}`;
    default:
      return issue.message;
  }
}

function nameIn(data: unknown): string {
  if (typeof data !== 'object' || data === null || !('metadata' in data)) return 'identity rule';
  const { metadata } = data;
  const named = typeof metadata === 'object' && metadata !== null && 'name' in metadata;
  return named && typeof metadata.name === 'string' ? metadata.name.slice(0, 80) : 'identity rule';
}
