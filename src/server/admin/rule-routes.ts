import { Hono } from 'hono';
import { z } from 'zod';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import {
  type AgentAttributes,
  compileRules,
  type Explained,
  explain,
  identityRuleOf,
  isInside,
  readIdentityRules,
  readWorkloadAttributes,
} from '../../identity/index.ts';
import { applyRules, removeRule } from '../identity/rules.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { bodyOf } from './read-body.ts';

const applied = z.union([
  z.strictObject({ yaml: z.string(), file: z.string().max(4096).optional() }),
  z.strictObject({ rules: z.array(z.unknown()).max(100_000) }),
]);
const question = z.strictObject({
  /** The workload's attributes, as the agent sees them. */
  attributes: z.record(z.string(), z.unknown()),
  /** SPIFFE ID of a known agent; without it, rules that look at the agent see none. */
  agent: z.string().max(2048).optional(),
  /** Rules to try in place of those in force. */
  yaml: z.string().optional(),
});

/** Registration rules, and why a workload gets what it gets. */
export function ruleRoutes({ plane }: AdminParts): Hono<AdminEnv> {
  const { registry, recorder, agents } = plane;
  return new Hono<AdminEnv>()
    .get('/', (context) => {
      const { version, value } = registry.rules.current;
      return context.json({ version, rules: value.rules.map(({ rule }) => rule) });
    })
    .post('/', async (context) => {
      const body = await bodyOf(context, applied);
      const rules = 'yaml' in body ? readIdentityRules(body.yaml, body.file) : body.rules.map(identityRuleOf);
      return context.json(await applyRules(context.get('who'), rules, registry, recorder));
    })
    .delete('/:name', async (context) => {
      await removeRule(context.get('who'), context.req.param('name'), registry, recorder);
      return context.json({ removed: context.req.param('name') });
    })
    .post('/explain', async (context) => {
      const body = await bodyOf(context, question);
      const attributes = readWorkloadAttributes(Buffer.from(JSON.stringify(body.attributes)));
      const agent =
        body.agent === undefined
          ? noAgent(registry.domain.trustDomain)
          : agents.agentOf(parseSpiffeId(body.agent));
      const rules =
        body.yaml === undefined
          ? registry.rules.current.value
          : compileRules(readIdentityRules(body.yaml), registry.domain.trustDomain);
      const { prefixes } = registry.domain;
      const explained = explain(rules, attributes, agent).map((one) => refusedOutside(one, prefixes));
      return context.json({ rules: explained });
    })
    .get('/:name', (context) => {
      const name = context.req.param('name');
      const rule = registry.rules.current.value.get(name);
      if (rule === undefined) throw new InterlockError('not_found', name, `there is no rule "${name}"`);
      return context.json(rule.rule);
    });
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
