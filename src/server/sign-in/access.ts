import type { Registry } from '../identity/registry.ts';
import type { Timers } from '../timers.ts';
import { BearerTokens } from './bearer.ts';
import type { SignInConfig } from './config.ts';
import { Provider } from './provider.ts';
import { RoleMap } from './roles.ts';

/** Whom others vouch for: through the provider in a browser, or by a token in each call. */
export interface Access {
  readonly roles: RoleMap;
  readonly provider: Provider | undefined;
  readonly bearer: BearerTokens;
}

const NOTHING: SignInConfig = { tokens: [], roles: [] };

/** What the configuration of sign-ins sets up; without one nobody is vouched for, and nothing is asked of anybody. */
export function accessOf(
  config: SignInConfig = NOTHING,
  { registry, timers }: { registry: Registry; timers: Timers },
): Access {
  const roles = new RoleMap(config);
  const { oidc, clientSecret } = config;
  return {
    roles,
    provider: oidc === undefined ? undefined : new Provider(oidc, clientSecret, timers),
    bearer: new BearerTokens({ config, roles, registry, timers }),
  };
}
