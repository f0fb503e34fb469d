import { allOf, type Permission, type Policy } from './rbac.ts';

/** Sorts before the first rule, which has number 1. */
export const GUARD_ID = '0000';

/**
 * What a path consists of once it is in normal form: RFC 3986's path characters, and escapes of everything but
 * unreserved characters (they are decoded by then), slashes, backslashes and control characters.
 */
const CHARACTER = "[A-Za-z0-9._~!$&'()*+,;=:@/\\[\\]-]";
const ESCAPE = '%(?:2[0-9A-Ca-c]|3[A-Fa-f]|40|5[BbDdEe]|60|7[B-Db-d]|[89A-Fa-f][0-9A-Fa-f])';

const path = (match: Readonly<Record<string, unknown>>): Permission => ({ url_path: { path: match } });
const optionsAll: readonly Permission[] = [
  { header: { name: ':method', string_match: { exact: 'OPTIONS' } } },
  path({ exact: '*' }),
];

/**
 * Denies every path that is not in normal form, whoever asks, as the policy does. Where the connection manager
 * is not told to normalise paths, they are denied here instead of being matched by the wrong rule.
 */
export const PATH_GUARD: Policy = {
  permissions: [
    allOf([
      { not_rule: path({ safe_regex: { regex: `/(?:${CHARACTER}|${ESCAPE})*` } }) },
      { not_rule: allOf(optionsAll) },
    ]),
    path({ contains: '//' }),
    path({ contains: '/./' }),
    path({ contains: '/../' }),
    path({ suffix: '/.' }),
    path({ suffix: '/..' }),
    // Dot segments with parameters pass Envoys before the fix of CVE-2026-73551.
    path({ contains: '/.;' }),
    path({ contains: '/..;' }),
  ],
  principals: [{ any: true }],
};
