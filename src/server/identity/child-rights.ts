import { InterlockError } from '../../access/index.ts';
import { type AgentAttributes, authorityOf, type GivenAuthority } from '../../identity/index.ts';
import type { Registry } from './registry.ts';

/** What the rules let an agent be as a child authority. Throws `forbidden` where none does, and for a revoked child. */
export function rightsOf(registry: Registry, agent: AgentAttributes): GivenAuthority {
  const { id } = agent.agent;
  const given = authorityOf(registry.rules.current.value, agent);
  if (given === undefined)
    throw new InterlockError('forbidden', id, `no rule with "downstream" lets ${id} be a child authority`);
  if (registry.revocations.current.value.spiffeIds.has(given.spiffeId))
    throw new InterlockError('forbidden', id, `the child authority ${given.spiffeId} is revoked`);
  return given;
}
