import { byFamily, type Interception, isNobody, type Whose } from './plan.ts';

/** The chains of an interception, each with the one of the system's that leads there. */
export const CHAINS = [
  { own: 'INTERLOCK_OUT', from: 'OUTPUT' },
  { own: 'INTERLOCK_IN', from: 'PREROUTING' },
] as const;

/** A plan for `iptables-restore --noflush` (or ip6tables-restore): both own chains, replaced whole. */
export function iptablesRules(plan: Interception, family: 4 | 6): string {
  const isLeftOut = family === 6 && plan.ipv4Only;
  const rules = isLeftOut ? [] : [...outbound(plan, family), ...inbound(plan)];
  return ['*nat', ...CHAINS.map(({ own }) => `:${own} - [0:0]`), ...rules, 'COMMIT', ''].join('\n');
}

function outbound({ outboundPort, only, except }: Interception, family: 4 | 6): string[] {
  if (outboundPort === undefined) return [];
  const { v4, v6 } = byFamily(except.cidrs);
  const redirect = `-j REDIRECT --to-ports ${outboundPort}`;
  const rules = [
    `-d ${family === 4 ? '127.0.0.0/8' : '::1/128'} -j RETURN`,
    ...matches(except).map((match) => `${match} -j RETURN`),
    ...(family === 4 ? v4 : v6).map((cidr) => `-d ${cidr} -j RETURN`),
    ...except.ports.map((port) => `-p tcp --dport ${port} -j RETURN`),
    ...(isNobody(only)
      ? [`-p tcp ${redirect}`]
      : matches(only).map((match) => `-p tcp ${match} ${redirect}`)),
  ];
  return rules.map((rule) => `-A INTERLOCK_OUT ${rule}`);
}

function inbound({ inbound: ports }: Interception): string[] {
  return ports.map(
    ({ port, to }) =>
      `-A INTERLOCK_IN -p tcp -m addrtype --dst-type LOCAL --dport ${port} -j REDIRECT --to-ports ${to}`,
  );
}

function matches({ users, groups, cgroups }: Whose): string[] {
  return [
    ...users.map((user) => `-m owner --uid-owner ${user}`),
    ...groups.map((group) => `-m owner --gid-owner ${group}`),
    ...cgroups.map((path) => `-m cgroup --path ${path}`),
  ];
}
