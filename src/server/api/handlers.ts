import type { Handlers, PlainRoute } from './handler.ts';
import { agentHandlers } from './handlers/agents.ts';
import { auditHandlers } from './handlers/audit.ts';
import { authorityHandlers } from './handlers/authorities.ts';
import { controlPlaneHandlers } from './handlers/control-plane.ts';
import { cutoverHandlers } from './handlers/cutovers.ts';
import { enforcementHandlers, rolloutHandlers } from './handlers/enforcement.ts';
import { estateHandlers } from './handlers/estate.ts';
import { exceptionHandlers } from './handlers/exceptions.ts';
import { federationHandlers } from './handlers/federation.ts';
import { handshakeHandlers } from './handlers/handshakes.ts';
import { identityHandlers } from './handlers/identities.ts';
import { keyHandlers } from './handlers/keys.ts';
import { notificationHandlers } from './handlers/notifications.ts';
import { policyCheckHandlers } from './handlers/policy-check.ts';
import { replicaHandlers } from './handlers/replicas.ts';
import { reviewHandlers } from './handlers/review.ts';
import { ruleHandlers } from './handlers/rules.ts';
import { syncHandlers } from './handlers/sync.ts';
import type { ApiParts } from './parts.ts';

/** What every route does. */
export function handlersOf(parts: ApiParts): Handlers<PlainRoute> {
  return {
    ...controlPlaneHandlers(parts),
    ...replicaHandlers(parts),
    ...auditHandlers(parts),
    ...handshakeHandlers(parts),
    ...policyCheckHandlers(),
    ...estateHandlers(parts),
    ...reviewHandlers(parts),
    ...rolloutHandlers(parts),
    ...syncHandlers(parts),
    ...enforcementHandlers(parts),
    ...exceptionHandlers(parts),
    ...identityHandlers(parts),
    ...agentHandlers(parts),
    ...ruleHandlers(parts),
    ...authorityHandlers(parts),
    ...keyHandlers(parts),
    ...cutoverHandlers(parts),
    ...federationHandlers(parts),
    ...notificationHandlers(parts),
  };
}
