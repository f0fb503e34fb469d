// The built-in proxy against HAProxy: the same chain of certificates, the same program behind, one core each, in turns.
// Both are a pair: plain text -> mutual TLS -> plain text, in one process. Beside what a client sees it prints how much
// each gives for a second of its processor, which other work on the machine changes least.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuSeconds, haproxyConfig, nginxConfig, onCore, start, writeChain } from './proxy-peers.ts';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
/** Seconds of one turn. */
const TURN = Number(process.env.TURN ?? 3);
const FILE_MB = 128;
/** Below the system's ephemeral ports. */
const PORTS = { program: 18_400, haproxy: 18_410, ours: 18_420 } as const;
const RULES = 1_000;

/** One thing that is measured: its process, and its first port. */
interface Subject {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
}

/** What one turn gave: how many in a second, and how many in a second of the processor. */
interface Turn {
  readonly rate: number;
  readonly perCpu: number;
  readonly p50?: number;
  readonly p99?: number;
}

const missing = ['haproxy', 'nginx', 'wrk', 'openssl', 'curl'].filter(
  (name) => spawnSync(name, ['-v']).error !== undefined,
);
if (missing.length > 0) {
  console.log(
    `Not measured: ${missing.join(', ')} not on PATH (apt-get install haproxy nginx wrk openssl curl).`,
  );
  process.exit(0);
}

const dir = mkdtempSync(join(tmpdir(), 'interlock-proxy-'));
const children: { kill(): unknown }[] = [];
try {
  await bench();
} finally {
  for (const child of children) child.kill();
  rmSync(dir, { recursive: true });
}

async function bench(): Promise<void> {
  const [haproxy, ours, rules] = await startAll();
  const direct: Subject = { name: 'no proxy', pid: process.pid, port: PORTS.program };
  const [base, own, ruled, none] = await inTurns([haproxy, ours, rules, direct], requests);
  table('requests a second, kept-alive HTTP/1.1, 32 connections', base, own, 0.5);
  const price = 1 - middle(ruled, 'perCpu') / middle(own, 'perCpu');
  console.log(
    `${RULES} rules cost ${(100 * price).toFixed(1)} % of requests for a second of the processor (under 3 %)`,
  );
  for (const quantile of ['p50', 'p99'] as const) {
    const added = (turns: readonly Turn[]) => (middle(turns, quantile) - middle(none, quantile)).toFixed(0);
    console.log(`${quantile} added: ${added(own)} us, HAProxy ${added(base)} us`);
  }
  const [baseBytes, ownBytes] = await inTurns([haproxy, ours], stream);
  table('MB a second on one long TCP stream', baseBytes, ownBytes, 0.7);
  const [baseNew, ownNew] = await inTurns([haproxy, ours], handshakes);
  table('new mutual TLS connections a second', baseNew, ownNew, 0.4);
}

async function startAll(): Promise<[Subject, Subject, Subject]> {
  writeChain(dir);
  writeFileSync(join(dir, 'file'), Buffer.alloc(FILE_MB * 1_000_000, 'interlock'));
  writeFileSync(join(dir, 'nginx.conf'), nginxConfig(dir, PORTS.program));
  writeFileSync(join(dir, 'haproxy.cfg'), haproxyConfig(dir, PORTS.haproxy, PORTS.program));
  children.push(await start(1, ['nginx', '-c', join(dir, 'nginx.conf')], PORTS.program));
  const pair = fileURLToPath(new URL('proxy-pair.ts', import.meta.url));
  const begin = async (name: string, command: readonly string[], port: number): Promise<Subject> => {
    const child = await start(0, command, name === 'HAProxy' ? port : port + 4);
    children.push(child);
    return { name, pid: child.pid ?? 0, port };
  };
  const node = [process.execPath, pair, dir, String(PORTS.ours), String(PORTS.program), String(RULES)];
  const haproxy = await begin('HAProxy', ['haproxy', '-f', join(dir, 'haproxy.cfg')], PORTS.haproxy);
  const ours = await begin('built-in', node, PORTS.ours);
  return [haproxy, ours, { ...ours, name: `built-in, ${RULES} rules`, port: PORTS.ours + 4 }];
}

/** Each subject in each round, in the order that the round turns around; the first round warms up and is not counted. */
async function inTurns<const S extends readonly Subject[]>(
  subjects: S,
  measure: (subject: Subject) => Promise<Turn>,
): Promise<{ [I in keyof S]: Turn[] }> {
  const turns = subjects.map((): Turn[] => []);
  for (let round = 0; round <= ROUNDS; round++) {
    const order = [...subjects.entries()];
    if (round % 2 === 1) order.reverse();
    for (const [i, subject] of order) {
      const turn = await measure(subject);
      if (round > 0) turns[i]?.push(turn);
    }
  }
  // One list for each subject, in their order.
  return turns as { [I in keyof S]: Turn[] };
}

async function requests({ pid, port }: Subject): Promise<Turn> {
  const before = cpuSeconds(pid);
  const text = await run(['wrk', '-t1', '-c32', `-d${TURN}`, '--latency', `http://127.0.0.1:${port}/`]);
  const cpu = cpuSeconds(pid) - before;
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(text);
  const count = numberIn(text, /(\d+) requests in/);
  return {
    rate: numberIn(text, /Requests\/sec:\s+([\d.]+)/),
    perCpu: count / cpu,
    p50: microsecondsIn(text, '50%'),
    p99: microsecondsIn(text, '99%'),
  };
}

async function stream({ pid, port }: Subject): Promise<Turn> {
  const before = cpuSeconds(pid);
  const started = performance.now();
  const bytes = Number(
    await run([
      'curl',
      '-sf',
      '-o',
      '/dev/null',
      '-w',
      '%{size_download}',
      `http://127.0.0.1:${port + 2}/file`,
    ]),
  );
  const seconds = (performance.now() - started) / 1000;
  return { rate: bytes / 1e6 / seconds, perCpu: bytes / 1e6 / (cpuSeconds(pid) - before) };
}

/** Full handshakes with a request each, by four clients of OpenSSL's. */
async function handshakes({ pid, port }: Subject): Promise<Turn> {
  const before = cpuSeconds(pid);
  const own = [
    '-cert',
    join(dir, 'web.crt'),
    '-key',
    join(dir, 'web.key'),
    '-CAfile',
    join(dir, 'above.pem'),
  ];
  const command = [
    'openssl',
    's_time',
    '-connect',
    `127.0.0.1:${port + 1}`,
    ...own,
    '-new',
    '-time',
    String(TURN),
  ];
  const texts = await Promise.all([1, 2, 3, 4].map(() => run([...command, '-www', '/'])));
  // A refused client counts its connections all the same.
  const unread = texts.find((text) => numberIn(text, /([1-9]\d*|0) bytes read per connection/) === 0);
  if (unread !== undefined) throw new Error(`connections without an answer: ${unread.slice(-200)}`);
  const counts = texts.map((text) => numberIn(text, /(\d+) connections in \d+ real seconds/));
  const count = counts.reduce((sum, n) => sum + n, 0);
  return { rate: count / TURN, perCpu: count / (cpuSeconds(pid) - before) };
}

function run(command: readonly string[]): Promise<string> {
  const [file = '', ...args] = onCore(1, command);
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => (text += String(bytes)));
    child.stderr.on('data', (bytes: Buffer) => (text += String(bytes)));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`${command.join(' ')} ended with ${code}: ${text}`)),
    );
  });
}

function table(what: string, base: readonly Turn[], own: readonly Turn[], wanted: number): void {
  console.log(`\n${what}`);
  for (const [key, word] of [
    ['rate', 'as a client sees it'],
    ['perCpu', 'for a second of the processor'],
  ] as const) {
    const [a, b] = [middle(base, key), middle(own, key)];
    const ratio = `${(b / a).toFixed(2)} of HAProxy (at least ${wanted})`;
    console.log(
      `  ${word.padEnd(30)} HAProxy ${a.toFixed(0).padStart(7)}  built-in ${b.toFixed(0).padStart(7)}  ${ratio}`,
    );
  }
}

function middle(turns: readonly Turn[], key: keyof Turn): number {
  const sorted = turns.map((turn) => turn[key] ?? Number.NaN).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function numberIn(text: string, pattern: RegExp): number {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`no ${pattern} in: ${text.slice(0, 500)}`);
  return Number(found);
}

/** A line of wrk's latencies: `50%    1.34ms`. */
function microsecondsIn(text: string, quantile: string): number {
  const [, value = '', unit = 'us'] = new RegExp(`${quantile}\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
  return Number(value) * { us: 1, ms: 1e3, s: 1e6 }[unit as 'us' | 'ms' | 's'];
}
