import { byFamily, type Interception, isNobody, TABLE, type Whose } from './plan.ts';

/** Before the machine's own translations of addresses, which stand at -100. */
const PRIORITY = -110;

/** What takes all of an interception away, and nothing else; also where there is none. */
export const NFT_OFF = `table inet ${TABLE} {}\ndelete table inet ${TABLE}\n`;

/**
 * A plan in the language of nft(8), as one change: what was there before is replaced whole. nft looks cgroups up below
 * /sys/fs/cgroup; `hierarchy` is where version 2's hierarchy is mounted there (`unified/` beside version 1's).
 */
export function nftRules(plan: Interception, hierarchy = ''): string {
  const chains = [
    ...(plan.outboundPort === undefined
      ? []
      : [chain('outbound', 'output', outbound(plan, plan.outboundPort, hierarchy))]),
    ...(plan.inbound.length === 0 ? [] : [chain('inbound', 'prerouting', inbound(plan))]),
  ];
  return `${NFT_OFF}table inet ${TABLE} {\n${chains.join('')}}\n`;
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  const head = `type nat hook ${hook} priority ${PRIORITY}; policy accept;`;
  return `  chain ${name} {\n${[head, ...rules].map((line) => `    ${line}\n`).join('')}  }\n`;
}

function outbound({ only, except, ipv4Only }: Interception, port: number, hierarchy: string): string[] {
  const { v4, v6 } = byFamily(except.cidrs);
  const redirect = `redirect to :${port}`;
  return [
    'meta l4proto != tcp return',
    ...(ipv4Only ? ['meta nfproto ipv6 return'] : []),
    // What stays on the machine's own loopback never left it.
    'ip daddr 127.0.0.0/8 return',
    'ip6 daddr ::1 return',
    ...matches(except, hierarchy).map((match) => `${match} return`),
    ...(v4.length === 0 ? [] : [`ip daddr { ${v4.join(', ')} } return`]),
    ...(v6.length === 0 ? [] : [`ip6 daddr { ${v6.join(', ')} } return`]),
    ...(except.ports.length === 0 ? [] : [`tcp dport { ${except.ports.join(', ')} } return`]),
    ...(isNobody(only)
      ? [`meta l4proto tcp ${redirect}`]
      : matches(only, hierarchy).map((match) => `${match} meta l4proto tcp ${redirect}`)),
  ];
}

function inbound({ inbound: ports, ipv4Only }: Interception): string[] {
  return [
    ...(ipv4Only ? ['meta nfproto ipv6 return'] : []),
    ...ports.map(({ port, to }) => `fib daddr type local tcp dport ${port} redirect to :${to}`),
  ];
}

function matches({ users, groups, cgroups }: Whose, hierarchy: string): string[] {
  return [
    ...(users.length === 0 ? [] : [`meta skuid { ${users.join(', ')} }`]),
    ...(groups.length === 0 ? [] : [`meta skgid { ${groups.join(', ')} }`]),
    ...cgroups.map((path) => `socket cgroupv2 level ${path.split('/').length} "${hierarchy}${path}"`),
  ];
}
