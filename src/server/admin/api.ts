import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { agentRoutes } from './agent-routes.ts';
import { authorityRoutes } from './authority-routes.ts';
import { cutoverRoutes } from './cutover-routes.ts';
import { enforcementRoutes } from './enforcement-routes.ts';
import { federationRoutes } from './federation-routes.ts';
import { identityRoutes } from './identity-routes.ts';
import { logRoutes } from './log-routes.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { problemOf } from './problem.ts';
import { ruleRoutes } from './rule-routes.ts';

/** Largest body: 10,000 rules fit. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** The name of a caller's user, as the command line says it. Whoever may use the socket is the owner or root. */
export const USER_HEADER = 'x-interlock-user';

/** The API of the control plane for its operator, on a socket that only the owner and root can open. */
export function adminApi(parts: AdminParts): Hono<AdminEnv> {
  const api = new Hono<AdminEnv>();
  api.use(async (context, next) => {
    const user = context.req.header(USER_HEADER) ?? '';
    context.set('who', /^[A-Za-z0-9._-]{1,64}$/.test(user) ? `local:${user}` : 'local');
    await next();
  });
  api.use(
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: () => {
        throw new InterlockError('limit', 'body', `a request has at most ${MAX_BODY_BYTES} bytes`);
      },
    }),
  );
  api.onError((error, context) => {
    if (!isInterlockError(error)) parts.onFault(error);
    const problem = problemOf(error);
    // The statuses of the table of codes are all that of an error with a body.
    return context.json(problem, problem.status as 500, { 'content-type': 'application/problem+json' });
  });
  api.notFound((context) => {
    const problem = problemOf(new InterlockError('not_found', context.req.path, 'there is nothing here'));
    return context.json(problem, 404, { 'content-type': 'application/problem+json' });
  });
  api.route('/v1/authorities', authorityRoutes(parts));
  api.route('/v1/rules', ruleRoutes(parts));
  api.route('/v1/agents', agentRoutes(parts));
  api.route('/v1/identities', identityRoutes(parts));
  api.route('/v1/cutovers', cutoverRoutes(parts));
  api.route('/v1/federation', federationRoutes(parts));
  api.route('/v1', enforcementRoutes(parts));
  api.route('/v1', logRoutes(parts));
  return api;
}
