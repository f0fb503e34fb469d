import { execFileSync, spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { interceptOff, interceptOn, interceptStatus, type Interception } from './index.ts';
import { iptablesRules } from './iptables.ts';
import { nftRules } from './nftables.ts';

const NOBODY = { users: [], groups: [], cgroups: [] };
const plan = (change: Partial<Interception> = {}): Interception => ({
  outboundPort: 15_001,
  inbound: [],
  only: NOBODY,
  except: { ...NOBODY, users: ['900'], cidrs: [], ports: [] },
  ipv4Only: false,
  ...change,
});

describe('rules of interception', () => {
  test('are one change of one table, and leave the proxy, loopback and what is excluded alone', () => {
    const rules = nftRules(
      plan({
        except: {
          users: ['900'],
          groups: ['901'],
          cgroups: ['a/b'],
          cidrs: ['10.0.0.0/8', 'fd00::/8'],
          ports: [22],
        },
        inbound: [{ port: 5432, to: 8443 }],
      }),
    );
    expect(rules).toBe(`table inet interlock {}
delete table inet interlock
table inet interlock {
  chain outbound {
    type nat hook output priority -110; policy accept;
    meta l4proto != tcp return
    ip daddr 127.0.0.0/8 return
    ip6 daddr ::1 return
    meta skuid { 900 } return
    meta skgid { 901 } return
    socket cgroupv2 level 2 "a/b" return
    ip daddr { 10.0.0.0/8 } return
    ip6 daddr { fd00::/8 } return
    tcp dport { 22 } return
    meta l4proto tcp redirect to :15001
  }
  chain inbound {
    type nat hook prerouting priority -110; policy accept;
    fib daddr type local tcp dport 5432 redirect to :8443
  }
}
`);
  });

  test('reach only those who are named, where somebody is', () => {
    const named = plan({
      only: { ...NOBODY, users: ['1001-1009'] },
      except: { ...NOBODY, cidrs: [], ports: [] },
    });
    expect(nftRules(named)).toContain(
      '    meta skuid { 1001-1009 } meta l4proto tcp redirect to :15001\n  }',
    );
    expect(iptablesRules(named, 4)).toContain(
      '-A INTERLOCK_OUT -p tcp -m owner --uid-owner 1001-1009 -j REDIRECT --to-ports 15001',
    );
  });

  test('find cgroups where version 1 has the place of version 2, and count levels from the hierarchy', () => {
    const named = plan({ only: { ...NOBODY, cgroups: ['a/b'] } });
    expect(nftRules(named, 'unified/')).toContain('socket cgroupv2 level 2 "unified/a/b" meta l4proto tcp');
    expect(iptablesRules(named, 6)).toContain('-m cgroup --path a/b -j REDIRECT');
  });

  test.each([
    [{ except: { ...NOBODY, cidrs: [], ports: [] } }, 'would come back to it'],
    [{ outboundPort: 70_000 }, 'no port'],
    [{ only: { ...NOBODY, users: ['0 } accept #'] } }, 'no user or group'],
    [{ only: { ...NOBODY, cgroups: ['a" accept'] } }, 'no cgroup'],
    [{ only: { ...NOBODY, cgroups: ['../x'] } }, 'no cgroup'],
    [{ except: { ...NOBODY, users: ['1'], cidrs: ['10.0.0.0/8 }'], ports: [] } }, 'no block'],
  ])('%j is refused before anything is run', async (change: Partial<Interception>, reason) => {
    await expect(interceptOn(plan(change), { host: false, namespace: 'none' })).rejects.toThrow(reason);
  });

  test('the namespace of the machine is touched only when it is meant', async () => {
    await expect(interceptOn(plan(), { namespace: '/proc/1/ns/net', host: false })).rejects.toThrow(
      // The latter where not even root may look at process 1.
      /say --host|there is no network namespace/,
    );
    await expect(interceptOff({ namespace: '../../proc/1/ns/net', host: false })).rejects.toThrow('no name');
    await expect(interceptOff({ namespace: 'il-none', host: false })).rejects.toThrow(
      'there is no network namespace',
    );
  });
});

const isRoot = process.platform === 'linux' && process.geteuid?.() === 0;
const has = (command: string) => spawnSync(command, ['--version']).error === undefined;
const canMake = isRoot && has('ip') && has('nsenter');
if (!canMake) console.log('interception is not tested: network namespaces take root and iproute2');

describe.each(['nft', 'iptables'] as const)('interception by %s', (firewall) => {
  const isHere = canMake && has(firewall);
  if (canMake && !isHere) console.log(`interception by ${firewall} is not tested: it is not installed`);
  const namespace = `il-${process.pid}-${firewall}`;
  const where = { namespace, host: false, firewall };
  const inside = (command: string, ...args: string[]) =>
    execFileSync('ip', ['netns', 'exec', namespace, command, ...args], { encoding: 'utf8' });
  beforeAll(() => {
    if (isHere) execFileSync('ip', ['netns', 'add', namespace]);
  });
  afterAll(() => {
    if (isHere) execFileSync('ip', ['netns', 'del', namespace]);
  });

  test.skipIf(!isHere)(
    'is the same after the second time, and leaves nothing but what others made',
    async () => {
      const foreign = () =>
        firewall === 'nft'
          ? inside('nft', 'list', 'ruleset')
          : `${inside('iptables-save', '-t', 'nat')}${inside('ip6tables-save', '-t', 'nat')}`
              .replaceAll(/^#.*\n/gm, '')
              .replaceAll(/\[\d+:\d+\]/g, '');
      if (firewall === 'nft') {
        inside('nft', 'add', 'table', 'inet', 'other');
        inside('nft', 'add', 'chain', 'inet', 'other', 'c');
      } else {
        inside('iptables', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '1', '-j', 'ACCEPT');
        inside('ip6tables', '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '1', '-j', 'ACCEPT');
      }
      const before = foreign();
      expect(await interceptStatus(where)).toMatchObject({ on: false });
      await interceptOff(where);
      expect(await interceptOn(plan({ inbound: [{ port: 80, to: 8080 }] }), where)).toBe(firewall);
      const once = (await interceptStatus(where)).rules;
      await interceptOn(plan({ inbound: [{ port: 80, to: 8080 }] }), where);
      expect((await interceptStatus(where)).rules).toEqual(once);
      expect(once.join('\n')).toContain('15001');
      await interceptOn(plan({ outboundPort: 15_002 }), where);
      expect((await interceptStatus(where)).rules.join('\n')).not.toMatch(/15001|8080/);
      await interceptOff(where);
      expect(await interceptStatus(where)).toMatchObject({ on: false, rules: [] });
      expect(foreign()).toBe(before);
    },
  );
});
