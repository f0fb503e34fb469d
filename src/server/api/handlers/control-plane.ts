import { InterlockError } from '../../../access/index.ts';
import { formatBundle, pemOf } from '../../../identity/index.ts';
import type { Handlers } from '../handler.ts';
import { openApi } from '../openapi.ts';
import type { ApiParts, SignIn } from '../parts.ts';

/** The control plane itself: its state, its callers, its bundle, its audit log. */
export function controlPlaneHandlers(
  parts: ApiParts,
): Handlers<
  | 'status.get'
  | 'openapi.get'
  | 'me.get'
  | 'sessions.list'
  | 'sessions.end'
  | 'sign-in-links.make'
  | 'bundle.get'
  | 'audit.verify'
> {
  const { plane, version, startedAt, server, timers } = parts;
  const { registry, store, recorder } = plane;
  let verifying: { readonly from: number; readonly fault: ReturnType<typeof store.verifyAudit> } | undefined;
  return {
    'status.get': async () => {
      const counts = await recorder.within(store.liveCounts(timers.now()));
      return {
        version,
        startedAt,
        trustDomain: registry.domain.trustDomain,
        port: server.port,
        agents: plane.agents.list().length,
        connected: server.service.connected().length,
        rules: registry.rules.current.value.rules.length,
        live: counts.reduce((sum, { count }) => sum + count, 0),
        revoked: registry.revoked.length,
      };
    },
    'openapi.get': () => openApi(),
    'me.get': ({ caller }) => {
      const { who, roles, isLocal } = known(caller);
      return { who, roles: [...roles], isLocal, trustDomain: registry.domain.trustDomain };
    },
    'sessions.list': async ({ caller }) => {
      const { who, roles, isLocal, session } = known(caller);
      const all = isLocal || roles.has('operator');
      return { sessions: (await parts.signIn?.sessions(all ? undefined : who, session)) ?? [] };
    },
    'sessions.end': async ({ caller, params: { id } }) => {
      const by = known(caller);
      const all = by.isLocal || by.roles.has('operator');
      await signInOf(parts).end(by, id, all ? undefined : by.who);
      return { ended: id };
    },
    'sign-in-links.make': ({ caller }) => signInOf(parts).makeLink(known(caller)),
    'bundle.get': () => {
      const bundle = registry.ownBundle;
      return { document: formatBundle(bundle), pem: pemOf(bundle) };
    },
    'audit.verify': async ({ query: { from } }) => {
      // It holds a connection of the store, or its only thread, for as long as the log is: once at a time.
      if (verifying !== undefined && verifying.from !== from)
        throw new InterlockError('unavailable', 'audit', 'the audit log is being verified: ask again later');
      verifying ??= {
        from,
        fault: store.verifyAudit(from).finally(() => {
          verifying = undefined;
        }),
      };
      // Reading a long log takes its time: no limit on the wait.
      const fault = await verifying.fault;
      return { isWhole: fault === undefined, fault };
    },
  };
}

function known<T>(caller: T | undefined): T {
  if (caller !== undefined) return caller;
  throw new TypeError('the table of routes asks for a caller here');
}

function signInOf({ signIn }: ApiParts): SignIn {
  if (signIn !== undefined) return signIn;
  throw new InterlockError(
    'not_found',
    'sign-in',
    'nobody signs in here: this control plane was started without an HTTP port ("interlock up" has one)',
  );
}
