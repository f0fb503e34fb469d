export { adviceFor } from './advice.ts';
export { areaFault } from './area.ts';
export {
  claimsOf,
  MAX_ATTRIBUTES_BYTES,
  readAgentAttributes,
  readWorkloadAttributes,
  writeWorkloadAttributes,
} from './attributes.ts';
export { type CompiledRule, compileRule } from './compile.ts';
export {
  CONDITIONS,
  type ConditionName,
  type Match,
  matchAuthority,
  matchRule,
  type NoMatch,
} from './match.ts';
export { arePrefixesInside, isInside, isReservedPath, prefixFault } from '../prefixes.ts';
export { identityRuleOf, MAX_RULE_BYTES, MAX_RULES, parseIdentityRule, readIdentityRules } from './read.ts';
export { identityRuleJsonSchema } from './rule-schema.ts';
export {
  authorityOf,
  compileRules,
  type Explained,
  explain,
  identitiesOf,
  MAX_IDENTITIES,
  RuleSet,
} from './rule-set.ts';
export { agentSelectors, selectorsOf } from './selectors.ts';
export * from './types.ts';
