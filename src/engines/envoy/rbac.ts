/** The parts of envoy.config.rbac.v3 that are written, in its JSON form with the names of the .proto file. */

export interface StringMatch {
  readonly exact?: string;
  readonly prefix?: string;
  readonly suffix?: string;
  readonly contains?: string;
  /** RE2, matched against the whole text. */
  readonly safe_regex?: { readonly regex: string };
}

export type Permission =
  | { readonly any: true }
  | { readonly and_rules: { readonly rules: readonly Permission[] } }
  | { readonly or_rules: { readonly rules: readonly Permission[] } }
  | { readonly not_rule: Permission }
  | { readonly destination_port: number }
  | { readonly header: { readonly name: string; readonly string_match: StringMatch } }
  | { readonly url_path: { readonly path: StringMatch } };

export type Principal =
  | { readonly any: true }
  | { readonly and_ids: { readonly ids: readonly Principal[] } }
  | { readonly not_id: Principal }
  | { readonly authenticated: { readonly principal_name?: StringMatch } }
  | { readonly direct_remote_ip: AddressBlock }
  | { readonly remote_ip: AddressBlock };

interface AddressBlock {
  readonly address_prefix: string;
  readonly prefix_len: number;
}

export interface Policy {
  /** Any of them; never empty: Envoy refuses that. */
  readonly permissions: readonly Permission[];
  /** Any of them; never empty. */
  readonly principals: readonly Principal[];
  /** google.api.expr.v1alpha1.Expr. */
  readonly condition?: Readonly<Record<string, unknown>>;
}

export interface Rules {
  readonly action: 'ALLOW' | 'DENY';
  readonly policies: Readonly<Record<string, Policy>>;
}

/** A filter as it stands in `http_filters` or in a filter chain's `filters`. */
export interface Filter {
  readonly name: string;
  readonly typed_config: Readonly<Record<string, unknown>>;
}

/** All of them; the one itself where it is alone. */
export function allOf(rules: readonly Permission[]): Permission {
  const [only] = rules;
  if (only === undefined) return { any: true };
  return rules.length === 1 ? only : { and_rules: { rules } };
}

/** Any of them, of which there is at least one. */
export function anyOf(rules: readonly Permission[]): Permission {
  const [only] = rules;
  return rules.length === 1 && only !== undefined ? only : { or_rules: { rules } };
}
