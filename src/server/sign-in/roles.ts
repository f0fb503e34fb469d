import { type Role, ROLES } from '../../api/index.ts';
import type { RoleRule, SignInConfig } from './config.ts';

/** Somebody whom an issuer has vouched for. */
export interface Vouched {
  readonly issuer: string;
  readonly subject: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Which roles the rules give. What no rule names has none: it may not call. */
export class RoleMap {
  readonly #rules: readonly RoleRule[];
  readonly #provider: string | undefined;
  readonly #groupsClaim: string;

  constructor({ roles, oidc }: SignInConfig) {
    this.#rules = roles;
    this.#provider = oidc?.issuer;
    this.#groupsClaim = oidc?.groupsClaim ?? 'groups';
  }

  /** Of a user or a CI job. A group counts only where the provider of people says it: others name their own. */
  rolesOf({ issuer, subject, claims }: Vouched): readonly Role[] {
    const groups = issuer === this.#provider ? groupsOf(claims, this.#groupsClaim) : new Set();
    return this.#collect((rule) => {
      if ('group' in rule) return groups.has(rule.group);
      if ('subject' in rule) return (rule.issuer ?? this.#provider) === issuer && rule.subject === subject;
      if ('claims' in rule)
        return (
          rule.issuer === issuer &&
          Object.entries(rule.claims).every(
            ([name, value]) => Object.hasOwn(claims, name) && claims[name] === value,
          )
        );
      return false;
    });
  }

  /** Of a workload, by its SPIFFE ID. */
  rolesOfWorkload(spiffeId: string): readonly Role[] {
    return this.#collect((rule) => {
      if (!('spiffe' in rule)) return false;
      const { spiffe } = rule;
      return spiffe.endsWith('*') ? spiffeId.startsWith(spiffe.slice(0, -1)) : spiffeId === spiffe;
    });
  }

  #collect(fits: (rule: RoleRule) => boolean): readonly Role[] {
    const found = new Set(this.#rules.filter(fits).flatMap(({ roles }) => roles));
    // Every role is also a viewer's.
    return found.size === 0 ? [] : ROLES.filter((role) => role === 'viewer' || found.has(role));
  }
}

function groupsOf(claims: Readonly<Record<string, unknown>>, name: string): ReadonlySet<unknown> {
  const given = Object.hasOwn(claims, name) ? claims[name] : undefined;
  return new Set(Array.isArray(given) ? given : [given]);
}
