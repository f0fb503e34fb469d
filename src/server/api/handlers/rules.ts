import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import { type Caller, mayCall, ROUTES } from '../../../api/index.ts';
import {
  type AgentAttributes,
  compileRules,
  type Explained,
  explain,
  type IdentityRule,
  identityRuleOf,
  isInside,
  readIdentityRules,
  readWorkloadAttributes,
} from '../../../identity/index.ts';
import { applyRules, removeRule } from '../../identity/rules.ts';
import type { Handlers } from '../handler.ts';
import { pageOf } from '../page.ts';
import type { ApiParts } from '../parts.ts';
import { SyncTurns } from '../sync-turns.ts';
import { checkVersion } from '../tags.ts';

/**
 * What whoever may only look may have tried: characters, and rules. YAML takes some microseconds a character and a
 * condition up to 50 ms, in which nobody else is answered.
 */
const MOST_TRIED = { characters: 64 * 1024, rules: 20 };

/** Registration rules, and why a workload gets what it gets. */
export function ruleHandlers({
  plane,
  timers,
}: ApiParts): Handlers<'rules.list' | 'rules.get' | 'rules.apply' | 'rules.remove' | 'rules.explain'> {
  const { registry, recorder, agents } = plane;
  const turns = new SyncTurns({ store: plane.store, recorder, timers });
  /** Rules change one after the other: what was looked at here is what is changed, or it is a `conflict` below. */
  const isFor = (ifMatch: readonly string[] | undefined) => () =>
    checkVersion(ifMatch, String(registry.rules.current.version), 'rules');
  return {
    'rules.list': ({ query, setVersion }) => {
      const { version, value } = registry.rules.current;
      const page = pageOf(value.rules, query, ({ name }) => name);
      if (query.after === undefined && page.next === undefined) setVersion(String(version));
      return { version, rules: page.items.map(({ rule }) => rule), next: page.next };
    },
    'rules.get': ({ params: { name } }) => {
      const rule = registry.rules.current.value.get(name);
      if (rule === undefined) throw new InterlockError('not_found', name, `there is no rule "${name}"`);
      return rule.rule;
    },
    'rules.apply': async ({ who, body, ifMatch }) => {
      if ('yaml' in body)
        return applyRules(who, readIdentityRules(body.yaml, body.file), registry, recorder, isFor(ifMatch));
      const { rules, remove, source } = body;
      if (source !== undefined) await turns.check(source.name, source.holder);
      const order = { remove, source };
      return applyRules(who, rules.map(identityRuleOf), registry, recorder, isFor(ifMatch), order);
    },
    'rules.remove': async ({ who, params: { name }, ifMatch }) => {
      await removeRule(who, name, registry, recorder, isFor(ifMatch));
      return { removed: name };
    },
    'rules.explain': ({ body, caller }) => {
      const tried = body.yaml === undefined ? undefined : rulesToTry(body.yaml, caller);
      const attributes = readWorkloadAttributes(Buffer.from(JSON.stringify(body.attributes)));
      const agent =
        body.agent === undefined
          ? noAgent(registry.domain.trustDomain)
          : agents.agentOf(parseSpiffeId(body.agent));
      const rules =
        tried === undefined ? registry.rules.current.value : compileRules(tried, registry.domain.trustDomain);
      const { prefixes } = registry.domain;
      return { rules: explain(rules, attributes, agent).map((one) => refusedOutside(one, prefixes)) };
    },
  };
}

/** Throws `limit`, `invalid_document`. */
function rulesToTry(yaml: string, caller: Caller | undefined): IdentityRule[] {
  // Who may apply them may as well try them.
  const isTrusted = mayCall(ROUTES['rules.apply'].need, caller);
  const limited = (what: keyof typeof MOST_TRIED, n: number) => {
    if (isTrusted || n <= MOST_TRIED[what]) return;
    throw new InterlockError(
      'limit',
      'yaml',
      `only operators may try more than ${MOST_TRIED[what]} ${what === 'rules' ? 'rules' : 'characters of rules'}`,
    );
  };
  limited('characters', yaml.length);
  const rules = readIdentityRules(yaml);
  limited('rules', rules.length);
  return rules;
}

/** An ID that an authority limited to prefixes does not sign, whatever its rules say. */
function refusedOutside(explained: Explained, prefixes: readonly string[] | undefined): Explained {
  const { identity, reason } = explained;
  if (identity === undefined || reason !== undefined || isInside(identity.spiffeId, prefixes))
    return explained;
  const area = prefixes?.join(', ') || 'nothing';
  return { ...explained, reason: `${identity.spiffeId} is refused: outside ${area}` };
}

function noAgent(trustDomain: string): AgentAttributes {
  const id = parseSpiffeId(`spiffe://${trustDomain}/interlock/agent/none/none`);
  return { agent: { id, attestor: 'none' }, selectors: [], claims: {} };
}
