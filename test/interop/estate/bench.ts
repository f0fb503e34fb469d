import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { idOf } from '../../enforcement/processes.ts';
import { eventually, type FlipShown } from '../../enforcement/shop.ts';
import { type Checks, expectSame, expectThat } from '../identity/checks.ts';
import { type Caller, INSTANCES, type Scene } from './scene.ts';

/** Called in shadow alone, after the policies were learned: known to be good, and not allowed. */
export const REPORT = '/report';

export const key = (service: 'shop' | 'store') => `${idOf(service)}#${INSTANCES[service]}`;
export const BOTH = ['shop', 'store'] as const;

export interface Bench {
  readonly scene: Scene;
  readonly checks: Checks;
}

/** An access with as much of its evidence as is looked at. */
export interface AccessShown {
  readonly from: string;
  readonly to: string;
  readonly action: {
    readonly kind: string;
    readonly method?: string;
    readonly path?: string;
    readonly port?: number;
  };
  readonly evidence: {
    readonly count: number;
    readonly mutual: number;
    readonly plaintext: number;
    readonly outcomes: Readonly<Record<string, number>>;
  };
}

export interface PointShown {
  readonly key: string;
  readonly kind: string;
  readonly connected: boolean;
  readonly applied: number;
  readonly wanted: number;
  readonly fault?: { readonly code: string; readonly message: string };
}

/** Asks the shop through the caller's own proxy; the status. */
export async function ask({ toShop }: Caller, path: string, method = 'GET'): Promise<number> {
  const signal = AbortSignal.timeout(20_000);
  const response = await fetch(`http://127.0.0.1:${toShop}${path}`, { method, signal });
  await response.text();
  return response.status;
}

/** At most an alert of TLS (RFC 8446 section 6): shorter than any answer. */
const ALERT_BYTES = 16;

/** Sends one line to a port, and says what came back until the connection ended. */
export function line(
  port: number,
  text = `${randomUUID()}\n`,
): Promise<'echoed' | 'answered' | 'closed' | 'open'> {
  return new Promise((resolve) => {
    let back = '';
    const socket = connect({ host: '127.0.0.1', port, timeout: 20_000 }, () => socket.end(text));
    socket.on('data', (bytes: Buffer) => (back += bytes.toString('latin1')));
    socket.on('timeout', () => {
      resolve('open');
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () =>
      resolve(back === text ? 'echoed' : back.length < ALERT_BYTES ? 'closed' : 'answered'),
    );
  });
}

/** What an attacker, and web beyond its rules, get at both proxies. */
export async function denied({ scene }: Bench, path = '/closed'): Promise<string> {
  const seen = [await ask(scene.mail, '/items'), await ask(scene.web, path), await line(scene.mail.toStore)];
  expectSame('what came back', seen, [403, 403, 'closed']);
  return `mail: ${seen[0]}, web ${path}: ${seen[1]}; mail at the store: ${seen[2]}`;
}

/** Waits for more calls of web, and sees to it that none has failed. */
export async function goesOn(bench: Bench): Promise<string> {
  const { ok: before } = await bench.scene.calls();
  await eventually(
    async () => {
      const { ok, failed } = await bench.scene.calls();
      return ok > before + 5 || failed > 0;
    },
    'calls of web',
    () => bench.scene.calls(),
  );
  const { ok, failed, reasons } = await bench.scene.calls();
  expectThat(failed === 0, `${failed} requests failed: ${reasons.join(', ')}`);
  return `${ok} requests so far, none failed`;
}

export async function points({ scene }: Bench): Promise<readonly PointShown[]> {
  // The command's own output, as its help describes it.
  return (JSON.parse(await scene.says(0, 'proxies', '--json')) as { points: PointShown[] }).points;
}

export async function accesses({ scene }: Bench, to: 'shop' | 'store'): Promise<readonly AccessShown[]> {
  const out = await scene.says(0, 'access', '--to', idOf(to), '--json');
  return out
    .split('\n')
    .filter((text) => text !== '')
    .map((text) => JSON.parse(text) as AccessShown);
}

export async function flips({ scene }: Bench, to: 'shop' | 'store'): Promise<readonly FlipShown[]> {
  const { out } = await scene.run('shadow', '--to', idOf(to), '--json');
  return (JSON.parse(out) as { flips: FlipShown[] }).flips;
}

/** Waits for a flip that fits. */
export function flip(
  bench: Bench,
  to: 'shop' | 'store',
  fits: (flip: FlipShown) => boolean,
): Promise<FlipShown> {
  return eventually(
    async () => (await flips(bench, to)).find(fits),
    `a flip at the ${to}`,
    () => flips(bench, to),
  );
}

/** The sentence about who confirmed; throws where it is not all of them. */
export function confirmed(out: string): string {
  const match = /(\d+) of (\d+) prox(?:y|ies) confirmed, the last after \d+ ms/.exec(out);
  expectThat(match !== null && match[1] === match[2], out);
  return match?.[0] ?? '';
}

/** Both proxies' workloads go to a stage, and everyone has to confirm. */
export async function promote({ scene }: Bench, to: string, ...more: string[]): Promise<string> {
  const told: string[] = [];
  for (const service of BOTH)
    told.push(
      `${service}: ${confirmed(await scene.says(0, 'promote', idOf(service), '--to', to, ...more, '--anyway', 'a test'))}`,
    );
  return told.join('; ');
}

/** Waits until so many proxies are there, and all of them have the newest state. */
export async function isUpToDate(bench: Bench, count: number): Promise<void> {
  await eventually(
    async () => {
      const all = await points(bench);
      return all.length === count && all.every((point) => point.connected && point.applied >= point.wanted);
    },
    `${count} proxies that are up to date`,
    () => points(bench),
  );
}

/** The stages of both workloads. */
export async function stages({ scene }: Bench): Promise<Readonly<Record<string, string>>> {
  // The command's own output, as its help describes it.
  const { rollouts } = JSON.parse(await scene.says(0, 'policy', 'list', '--json')) as {
    rollouts: { workload: string; stage: string }[];
  };
  return Object.fromEntries(
    rollouts.map(({ workload, stage }) => [workload.slice(workload.lastIndexOf('/') + 1), stage]),
  );
}

/** What has reached the programs and web may not do, and what of it came from mail. */
export async function wronglyServed(bench: Bench): Promise<readonly string[]> {
  const seen = await bench.scene.shop.program.seen();
  const others = seen.filter(
    (text) => !(text.startsWith('GET /items ') && text.includes(`URI=${idOf('web')}`)),
  );
  const all = [...(await accesses(bench, 'shop')), ...(await accesses(bench, 'store'))];
  const byMail = all.filter(({ from, evidence }) => from === idOf('mail') && evidence.count > 0);
  return [...others, ...byMail.map(({ to, evidence }) => `mail ${to} ${evidence.count}`)];
}

/** How many calls that reached a workload the evidence has. */
export async function reached(bench: Bench, to: 'shop' | 'store'): Promise<number> {
  return (await accesses(bench, to)).reduce((sum, { evidence }) => sum + evidence.count, 0);
}

/** How often a program was asked. */
export async function askedOf({ scene }: Bench, service: 'shop' | 'store'): Promise<number> {
  return (await scene[service].program.seen()).length;
}

/** Has web ask the shop for a path that no rule allows until the evidence has it: what Envoy logged before has come as well. */
export async function heard(bench: Bench, path: string): Promise<void> {
  await eventually(async () => {
    expectSame(path, await ask(bench.scene.web, path), 403);
    return (await accesses(bench, 'shop')).some(({ action }) => action.path === path);
  }, `Envoy's log of ${path}`);
}
