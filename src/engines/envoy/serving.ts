import type { Target } from '../../policy/index.ts';
import type { Losses } from '../losses.ts';
import type { ProtectedRules, ReadRule } from '../rule-targets.ts';

export type Protocol = 'http' | 'tcp';

/** Which kind of filter chain serves each port that rules name, and all others. */
export interface Serving {
  readonly http: readonly number[];
  readonly tcp: readonly number[];
  readonly others: Protocol;
}

/**
 * A port that a rule about requests names is served as HTTP, one that only `tcp` rules name as TCP. On ports that
 * no rule names, rules without ports decide.
 */
export function servingOf({ allow, deny, ports }: ProtectedRules): Serving {
  const http = new Set([...allow, ...deny].flatMap(requestTargets).flatMap((target) => target.ports ?? []));
  const isOpen = ({ ports }: Target) => ports === undefined;
  const openToRequests = allow.some((rule) => requestTargets(rule).some(isOpen));
  const open = openToRequests || allow.some((rule) => rule.targets.some(isOpen));
  return {
    http: ports.filter((port) => http.has(port)),
    tcp: ports.filter((port) => !http.has(port)),
    others: openToRequests || (http.size > 0 && !open) ? 'http' : 'tcp',
  };
}

/** The targets that are about requests; with a condition that reads the request a `tcp` target is one as well. */
function requestTargets({ targets, when = '' }: ReadRule): readonly Target[] {
  const readsRequest = /\brequest\s*\./.test(when.replace(/"[^"]*"|'[^']*'/g, ''));
  return readsRequest ? targets : targets.filter(({ kind }) => kind !== 'tcp');
}

function connectionTargets({ targets }: ReadRule): readonly Target[] {
  return targets.filter(({ kind }) => kind === 'tcp');
}

/** What is served: without `others` where no other port is. */
export type Served = Omit<Serving, 'others'> & { readonly others?: Protocol };

/** Whether some port is served in this way. */
export function serves(serving: Served, protocol: Protocol): boolean {
  return serving[protocol].length > 0 || serving.others === protocol;
}

/** Says what a port can no longer do because it is served in one way only. */
export function servingLosses(rules: ProtectedRules, serving: Served, losses: Losses): void {
  for (const rule of rules.allow) {
    if (meets(connectionTargets(rule), 'http', serving)) {
      const what =
        'Ports with rules about requests are served as HTTP: other protocols are not admitted there.';
      losses.add('narrower', 'tcp-on-http-port', rule, what);
    }
    if (meets(requestTargets(rule), 'tcp', serving)) {
      const what = 'Ports that only tcp rules name are served as TCP: no request is seen or allowed there.';
      losses.add('narrower', 'http-on-tcp-port', rule, what);
    }
  }
  for (const rule of rules.deny) {
    if (!meets(requestTargets(rule), 'tcp', serving)) continue;
    const what =
      'Ports that only tcp rules name are served as TCP: connections are denied, whatever is asked for.';
    losses.add('narrower', 'http-deny-on-tcp-port', rule, what);
  }
}

/** Whether some of the targets lie on ports that are served in this way. */
function meets(targets: readonly Target[], protocol: Protocol, serving: Served): boolean {
  return targets.some(({ ports }) =>
    ports === undefined ? serves(serving, protocol) : ports.some((port) => serving[protocol].includes(port)),
  );
}
