import type { Handlers, PlainRoute } from './handler.ts';
import { agentHandlers } from './handlers/agents.ts';
import { authorityHandlers } from './handlers/authorities.ts';
import { controlPlaneHandlers } from './handlers/control-plane.ts';
import { cutoverHandlers } from './handlers/cutovers.ts';
import { enforcementHandlers, rolloutHandlers } from './handlers/enforcement.ts';
import { estateHandlers } from './handlers/estate.ts';
import { federationHandlers } from './handlers/federation.ts';
import { identityHandlers } from './handlers/identities.ts';
import { reviewHandlers } from './handlers/review.ts';
import { ruleHandlers } from './handlers/rules.ts';
import type { ApiParts } from './parts.ts';

/** What every route does. */
export function handlersOf(parts: ApiParts): Handlers<PlainRoute> {
  return {
    ...controlPlaneHandlers(parts),
    ...estateHandlers(parts),
    ...reviewHandlers(parts),
    ...rolloutHandlers(parts),
    ...enforcementHandlers(parts),
    ...identityHandlers(parts),
    ...agentHandlers(parts),
    ...ruleHandlers(parts),
    ...authorityHandlers(parts),
    ...cutoverHandlers(parts),
    ...federationHandlers(parts),
  };
}
