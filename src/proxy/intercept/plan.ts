import { isIPv4 } from 'node:net';
import { InterlockError } from '../../access/index.ts';
import { parseCidr } from '../../policy/index.ts';

/** Name of all that interception leaves in a firewall: its table in nftables, the start of its chains in iptables. */
export const TABLE = 'interlock';

/** Whose connections, or which of them, a rule speaks of. */
export interface Whose {
  /** A number, or FROM-TO. */
  readonly users: readonly string[];
  readonly groups: readonly string[];
  /** Of version 2's hierarchy, from its root, such as `system.slice/cart.service`. */
  readonly cgroups: readonly string[];
}

/** What is to be intercepted. */
export interface Interception {
  /** Where the node proxy takes redirected connections; absent where only inbound ones are redirected. */
  readonly outboundPort?: number;
  /** Ports of this machine whose connections from outside go to another port of it. */
  readonly inbound: readonly { readonly port: number; readonly to: number }[];
  /** Whose outbound connections; everybody's where empty. */
  readonly only: Whose;
  /** Never intercepted. */
  readonly except: Whose & { readonly cidrs: readonly string[]; readonly ports: readonly number[] };
  readonly ipv4Only: boolean;
}

/** Checks a plan. Throws `usage`: nothing of it reaches the firewall's own language unchecked. */
export function checkInterception(plan: Interception): void {
  const { outboundPort, inbound, only, except } = plan;
  if (outboundPort === undefined && inbound.length === 0)
    throw bad('--outbound-port', 'nothing is to be intercepted: give --outbound-port, --inbound, or both');
  for (const number of [outboundPort ?? 1, ...except.ports, ...inbound.flatMap(({ port, to }) => [port, to])])
    if (!Number.isInteger(number) || number < 1 || number > 65_535)
      throw bad(String(number), `${number} is no port`);
  for (const text of [...only.users, ...only.groups, ...except.users, ...except.groups])
    if (!/^\d{1,10}(-\d{1,10})?$/.test(text))
      throw bad(text, `"${text}" is no user or group: a number, or FROM-TO`);
  // What systemd and container engines use; a quote or a newline would be another rule.
  for (const path of [...only.cgroups, ...except.cgroups])
    if (!/^[A-Za-z0-9_.@:\\-]+(\/[A-Za-z0-9_.@:\\-]+)*$/.test(path) || path.split('/').includes('..'))
      throw bad(
        path,
        `"${path}" is no cgroup: a path from the root of the hierarchy, without a slash before it`,
      );
  for (const cidr of except.cidrs) {
    const parsed = parseCidr(cidr);
    if (!parsed.ok) throw bad(cidr, `"${cidr}" is no block of addresses: ${parsed.reason}`);
  }
  const isEverybody = isNobody(only);
  if (outboundPort !== undefined && isEverybody && isNobody(except))
    throw bad(
      '--exclude-uid',
      "the proxy's own connections would come back to it: leave its user out with --exclude-uid (or --exclude-gid, --exclude-cgroup), or name whom to intercept with --uid",
    );
}

/** Blocks of each family. */
export function byFamily(cidrs: readonly string[]): {
  readonly v4: readonly string[];
  readonly v6: readonly string[];
} {
  const isV4 = (cidr: string) => isIPv4(cidr.split('/')[0] ?? '');
  return { v4: cidrs.filter(isV4), v6: cidrs.filter((cidr) => !isV4(cidr)) };
}

export function isNobody({ users, groups, cgroups }: Whose): boolean {
  return users.length + groups.length + cgroups.length === 0;
}

function bad(subject: string, text: string): InterlockError {
  return new InterlockError('usage', subject, text);
}
