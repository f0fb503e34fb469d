import { InterlockError } from '../../access/index.ts';
import { celOf, type Expression, type Plain, parseExpression } from '../cel.ts';
import { type Claim, claimsOf } from '../registration/index.ts';
import { agentNameFault } from './attestor.ts';

/** How verified claims become an agent; all are CEL over `claims`. */
export interface ClaimTexts {
  /** Which nodes may be agents at all. */
  readonly when?: string;
  /** The agent's name, as text. */
  readonly agent?: string;
  /** More claims for rules to see, by name; they win over the token's own. */
  readonly claims?: Readonly<Record<string, string>>;
}

/** The texts of {@link ClaimTexts}, parsed. */
export interface ClaimRules {
  /** Throws `untrusted` where the condition does not hold or a value cannot be had. `subject` names who for messages. */
  apply(
    claims: Readonly<Record<string, unknown>>,
    subject: string,
  ): { readonly name: string; readonly claims: Readonly<Record<string, Claim>> };
}

const VOCABULARY = { claims: 'any' } as const;
const MAX_EXTRA_CLAIMS = 64;

/** Throws `invalid_document`, which names `owner`, for a text that is no expression. */
export function compileClaimRules(
  texts: ClaimTexts,
  owner: string,
  defaults: { readonly name: string; readonly when: string },
): ClaimRules {
  const compile = (what: string, text: string): Expression => {
    const parsed = parseExpression(text, VOCABULARY);
    if (parsed.ok) return parsed.expression;
    throw new InterlockError(
      'invalid_document',
      owner,
      `${owner}: "${what}" is no expression: ${parsed.reason}`,
    );
  };
  const extra = Object.entries(texts.claims ?? {});
  if (extra.length > MAX_EXTRA_CLAIMS)
    throw new InterlockError('limit', owner, `${owner}: at most ${MAX_EXTRA_CLAIMS} claims can be added`);
  const whenText = texts.when ?? defaults.when;
  const when = whenText.trim() === '' ? undefined : compile('when', whenText);
  const agent = compile('agent', texts.agent ?? defaults.name);
  const added = extra.map(([name, text]) => [name, compile(`claims.${name}`, text)] as const);
  return {
    apply(all, subject) {
      const seen = claimsOf(all);
      const bindings = { claims: celOf(seen) };
      if (when !== undefined && when.test(bindings) !== true) throw refused(subject, missed(when, seen));
      const valueOf = (what: string, expression: Expression): Plain => {
        const value = expression.value(bindings);
        if (value.ok) return value.value;
        throw refused(subject, `"${what}" has no value: ${value.reason}`);
      };
      const name = valueOf('agent', agent);
      const fault = typeof name === 'string' ? agentNameFault(name) : '"agent" gives no text';
      if (typeof name !== 'string' || fault !== undefined) throw refused(subject, fault ?? '');
      const more = added.map(([key, expression]) => [key, valueOf(`claims.${key}`, expression)] as const);
      return { name, claims: { ...seen, ...Object.fromEntries(more) } };
    },
  };
}

/** The condition with the values that it met. */
function missed(when: Expression, claims: Readonly<Record<string, Claim>>): string {
  const met = when.names.map((name) => {
    const key = name.slice(name.indexOf('.') + 1);
    const value = Object.hasOwn(claims, key) ? JSON.stringify(claims[key]) : 'not there';
    return `${key} is ${value.slice(0, 120)}`;
  });
  return `${when.text} does not hold${met.length === 0 ? '' : `: ${met.join(', ')}`}`;
}

function refused(subject: string, reason: string): InterlockError {
  return new InterlockError('untrusted', subject.slice(0, 120), `this node may not be an agent: ${reason}`);
}
