import { addressText, type Caller } from '../../policy/index.ts';
import type { Losses } from '../losses.ts';
import type { ReadRule } from '../rule-targets.ts';
import type { Principal } from './rbac.ts';

const exact = (name: string): Principal => ({ authenticated: { principal_name: { exact: name } } });
const below = (prefix: string): Principal => ({ authenticated: { principal_name: { prefix } } });

/**
 * A caller that shows a SPIFFE ID. Not `authenticated: {}`: that is any TLS connection, also one without a
 * client certificate.
 */
const IDENTIFIED: Principal = below('spiffe://');
const UNIDENTIFIED: Principal = { not_id: IDENTIFIED };

/** The callers of a rule; empty where Envoy can see none of them, and the rule is to be left out. */
export function principalsOf(
  rule: ReadRule,
  denying: boolean,
  losses: Losses,
  address: AddressKind = 'direct_remote_ip',
): Principal[] {
  return rule.callers.flatMap((caller) => principalOf(caller, rule, { denying, losses, address }));
}

/**
 * The physical peer: what forwarded headers claim is the caller's own word. `remote_ip` is that of the PROXY header
 * where one is believed, and with `use_remote_address` never that of an HTTP header.
 */
type AddressKind = 'direct_remote_ip' | 'remote_ip';

function principalOf(
  caller: Caller,
  rule: ReadRule,
  options: { readonly denying: boolean; readonly losses: Losses; readonly address: AddressKind },
): Principal[] {
  const { denying, losses, address } = options;
  switch (caller.kind) {
    case 'exact':
      return [exact(caller.id)];
    case 'prefix':
      return [below(caller.prefix)];
    case 'domain':
      return [exact(`spiffe://${caller.name}`), below(`spiffe://${caller.name}/`)];
    case 'cidr':
      return [{ and_ids: { ids: [addressOf(caller, address), UNIDENTIFIED] } }];
    case 'entity':
      if (denying) {
        const what = `Envoy does not know "${caller.name}": every caller without a SPIFFE ID is denied instead.`;
        losses.add('narrower', 'entity-as-unauthenticated', rule, what);
        return [UNIDENTIFIED];
      }
      losses.add(
        'narrower',
        'entity',
        rule,
        `Envoy does not know "${caller.name}": it is left out; write a CIDR.`,
      );
      return [];
    case 'person':
      if (denying) {
        losses.add(
          'wider',
          'person-in-deny',
          rule,
          'Envoy RBAC sees no users or groups: they are not denied.',
        );
      } else {
        losses.add('narrower', 'person', rule, 'Envoy RBAC sees no users or groups: they are not allowed.');
      }
      return [];
  }
}

function addressOf({ cidr }: Extract<Caller, { kind: 'cidr' }>, kind: AddressKind): Principal {
  const block = { address_prefix: addressText(cidr), prefix_len: cidr.bits };
  return kind === 'remote_ip' ? { remote_ip: block } : { direct_remote_ip: block };
}
