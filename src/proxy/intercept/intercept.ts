import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { InterlockError } from '../../access/index.ts';
import { cgroupMount } from '../../system/index.ts';
import { CHAINS, iptablesRules } from './iptables.ts';
import { NFT_OFF, nftRules } from './nftables.ts';
import { checkInterception, type Interception, TABLE } from './plan.ts';

const TIMEOUT_MS = 10_000;
const MAX_OUTPUT = 1024 * 1024;
const HOST = '/proc/1/ns/net';
const CGROUPS = '/sys/fs/cgroup/';
const NO_CAPABILITY = /operation not permitted|permission denied|must be root/i;

/** What writes the rules: nft(8), or iptables(8) where that is all there is. */
export const FIREWALLS = ['nft', 'iptables'] as const;
export type Firewall = (typeof FIREWALLS)[number];

export interface Where {
  /** A name of `ip netns`, or a path such as /proc/PID/ns/net; absent: the namespace of this process. */
  readonly namespace?: string | undefined;
  /** Said by whoever means the machine itself. */
  readonly host: boolean;
  /** Which firewall; nft where it is installed, where absent. */
  readonly firewall?: Firewall | undefined;
}

/** What is intercepted now: the rules as the firewall lists them. */
export interface InterceptionStatus {
  readonly firewall: Firewall;
  readonly on: boolean;
  readonly rules: readonly string[];
}

/** Intercepts, in the place of whatever was intercepted there before. Throws `usage`, `forbidden`, `unavailable`, `io`. */
export async function interceptOn(plan: Interception, where: Where): Promise<Firewall> {
  checkInterception(plan);
  const run = runnerOf(where);
  const firewall = await firewallOf(run, where);
  if (firewall === 'nft') await must(run, ['nft', '-f', '-'], nftRules(plan, hierarchy()));
  else await iptablesOn(run, plan);
  // What the other one was told before would stand beside it.
  if (firewall === 'iptables' && (await isThere(run, 'nft'))) await must(run, ['nft', '-f', '-'], NFT_OFF);
  if (firewall === 'nft' && (await isThere(run, 'iptables'))) await iptablesOff(run);
  return firewall;
}

/** Takes away all that `interceptOn` made, whichever firewall made it; nothing where there is nothing. */
export async function interceptOff(where: Where): Promise<void> {
  const run = runnerOf(where);
  const [hasNft, hasIptables] = [await isThere(run, 'nft'), await isThere(run, 'iptables')];
  if (!hasNft && !hasIptables) throw noFirewall();
  if (hasNft) await must(run, ['nft', '-f', '-'], NFT_OFF);
  if (hasIptables) await iptablesOff(run);
}

async function iptablesOn(run: Run, plan: Interception): Promise<void> {
  for (const [command, family] of [
    ['iptables', 4],
    ['ip6tables', 6],
  ] as const) {
    await must(run, [`${command}-restore`, '-w', '5', '--noflush'], iptablesRules(plan, family));
    const table = [command, '-w', '5', '-t', 'nat'];
    for (const { own, from } of CHAINS)
      if ((await run([...table, '-C', from, '-p', 'tcp', '-j', own])).code !== 0)
        await must(run, [...table, '-I', from, '1', '-p', 'tcp', '-j', own]);
  }
}

async function iptablesOff(run: Run): Promise<void> {
  for (const command of ['iptables', 'ip6tables'])
    for (const { own, from } of CHAINS) {
      const table = [command, '-w', '5', '-t', 'nat'];
      // Without the chain there is nothing; where it is listed, whatever fails is told.
      if ((await run([...table, '-S', own])).code !== 0) continue;
      const jump = [from, '-p', 'tcp', '-j', own];
      while ((await run([...table, '-C', ...jump])).code === 0) await must(run, [...table, '-D', ...jump]);
      await must(run, [...table, '-F', own]);
      await must(run, [...table, '-X', own]);
    }
}

/** What is intercepted there now. Throws as {@link interceptOn}. */
export async function interceptStatus(where: Omit<Where, 'host'>): Promise<InterceptionStatus> {
  const run = runnerOf({ ...where, host: true });
  if (await isThere(run, 'nft')) {
    const { code, output, fault } = await run(['nft', 'list', 'table', 'inet', TABLE]);
    if (code === 0) return { firewall: 'nft', on: true, rules: linesOf(output) };
    if (!/no such file/i.test(fault)) throw refused('nft list', fault);
  }
  if (!(await isThere(run, 'iptables'))) {
    if (!(await isThere(run, 'nft'))) throw noFirewall();
    return { firewall: 'nft', on: false, rules: [] };
  }
  const rules: string[] = [];
  for (const command of ['iptables', 'ip6tables'])
    for (const { own } of CHAINS) {
      const { code, output } = await run([command, '-w', '5', '-t', 'nat', '-S', own]);
      if (code === 0) rules.push(...linesOf(output).map((line) => `${command} ${line}`));
    }
  return { firewall: 'iptables', on: rules.length > 0, rules };
}

/** A command's end. */
interface Ended {
  readonly code: number;
  readonly output: string;
  readonly fault: string;
}

type Run = (command: readonly string[], input?: string) => Promise<Ended>;

/** Runs commands in the namespace that is meant. Throws `usage` for the machine's own where nobody said so. */
function runnerOf({ namespace, host }: Where): Run {
  const path =
    namespace === undefined
      ? '/proc/self/ns/net'
      : namespace.startsWith('/')
        ? namespace
        : `/run/netns/${namespace}`;
  if (namespace !== undefined && !namespace.startsWith('/') && !/^[A-Za-z0-9_.-]{1,255}$/.test(namespace))
    throw new InterlockError('usage', namespace, `"${namespace}" is no name of a network namespace`);
  if (!host && isHost(path))
    throw new InterlockError(
      'usage',
      '--host',
      'this is the network namespace of the machine: name another one with --namespace, or say --host',
    );
  const prefix = namespace === undefined ? [] : ['nsenter', `--net=${path}`];
  return (command, input) => execute([...prefix, ...command], input);
}

/** Whether a namespace is that of process 1. Throws `not_found` for one that is not there. */
function isHost(path: string): boolean {
  const idOf = (file: string) => {
    const { dev, ino } = statSync(file, { bigint: true });
    return `${dev} ${ino}`;
  };
  let own: string;
  try {
    own = idOf(path);
  } catch (cause) {
    throw new InterlockError('not_found', path, `there is no network namespace at ${path}`, { cause });
  }
  try {
    return own === idOf(HOST);
  } catch {
    // Who may not look at process 1 takes the namespace that it is in for the machine's.
    return own === idOf('/proc/self/ns/net');
  }
}

/** Where nft finds version 2's cgroups below {@link CGROUPS}: there itself, but where version 1 has that place. */
function hierarchy(): string {
  const mount = cgroupMount();
  return mount?.startsWith(CGROUPS) === true ? `${mount.slice(CGROUPS.length)}/` : '';
}

async function firewallOf(run: Run, { firewall }: Where): Promise<Firewall> {
  for (const each of firewall === undefined ? FIREWALLS : [firewall])
    if (await isThere(run, each)) return each;
  throw noFirewall();
}

async function isThere(run: Run, command: string): Promise<boolean> {
  const { code, fault } = await run([command, '--version']);
  if (NO_CAPABILITY.test(fault)) throw refused(command, fault);
  return code === 0;
}

async function must(run: Run, command: readonly string[], input?: string): Promise<void> {
  const { code, fault } = await run(command, input);
  if (code !== 0) throw refused(command[0] ?? '', fault);
}

function execute([command = '', ...args]: readonly string[], input = ''): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    });
    let [output, fault] = ['', ''];
    child.stdout.on('data', (bytes: Buffer) => {
      if (output.length < MAX_OUTPUT) output += String(bytes);
    });
    child.stderr.on('data', (bytes: Buffer) => {
      if (fault.length < MAX_OUTPUT) fault += String(bytes);
    });
    child.stdin.on('error', () => {});
    child.once('error', (error) => resolve({ code: 127, output, fault: error.message }));
    child.once('close', (code) => resolve({ code: code ?? 1, output, fault }));
    child.stdin.end(input);
  });
}

function linesOf(text: string): string[] {
  return text.split('\n').flatMap((line) => (line.trim() === '' ? [] : line.trimEnd()));
}

function noFirewall(): InterlockError {
  return new InterlockError('unavailable', 'nft', 'neither nft nor iptables is installed: install nftables');
}

function refused(command: string, fault: string): InterlockError {
  const [first = 'no reason given'] = linesOf(fault);
  if (NO_CAPABILITY.test(fault))
    return new InterlockError('forbidden', command, `interception takes root (CAP_NET_ADMIN): ${first}`);
  return new InterlockError('io', command, `${command} refused: ${first}`);
}
