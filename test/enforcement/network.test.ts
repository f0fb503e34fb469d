import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PathApi } from '../path-api.ts';
import { readIdentityRules } from '../../src/identity/index.ts';
import { initialise, realTimers } from '../../src/server/index.ts';
import { DOMAIN, Opened, socketOf, tokenOf } from '../identity/harness.ts';
import { idOf, interlockIn, Program, type RunningProxy, startProxy } from './processes.ts';
import { command, eventually, type FlipShown, noShop, policyOf, RULES, USERS } from './shop.ts';

const opened = new Opened();

/** A network of its own, which goes away with the test. */
const NETWORK = `interlock-${process.pid}`;
/** Each way, so that a round trip takes 200 ms. */
const DELAY_MS = 100;
const LOSS = 1;

const ip = (...args: readonly string[]) => spawnSync('ip', args, { stdio: 'pipe' }).status === 0;
const inside = (input: string, ...args: readonly string[]) =>
  spawnSync('ip', ['netns', 'exec', NETWORK, ...args], { stdio: 'pipe', input }).status === 0;

const netem = (act: 'add' | 'del') =>
  inside('', 'tc', 'qdisc', act, 'dev', 'lo', 'root', 'netem', 'delay', `${DELAY_MS}ms`, 'loss', `${LOSS}%`);
const DROP = `table inet bad {
  chain in {
    type filter hook input priority 0;
    numgen random mod 100 < ${LOSS} drop
  }
}
`;

/** How the network is made bad, which it is not yet; undefined, and a sentence, where it cannot be. */
function badNetwork(): { readonly begin: () => boolean; readonly delay: number } | undefined {
  if (noShop('a network that loses and delays') !== undefined) return undefined;
  const not = (why: string) => {
    console.log(`Left out: a network that loses and delays: ${why}.`);
    ip('netns', 'delete', NETWORK);
    return undefined;
  };
  if (!ip('netns', 'add', NETWORK)) return not('"ip netns add" makes no network here');
  if (!ip('-n', NETWORK, 'link', 'set', 'lo', 'up')) return not('the network cannot be used');
  if (netem('add') && netem('del')) return { begin: () => netem('add'), delay: 0 };
  // A kernel without netem: packets are dropped by a rule, and relays stand between everybody.
  if (inside(DROP, 'nft', '-f', '-') && inside('', 'nft', 'flush', 'ruleset'))
    return { begin: () => inside(DROP, 'nft', '-f', '-'), delay: DELAY_MS };
  return not('neither "tc" with netem nor "nft" works here');
}
const bad = badNetwork();
if (bad !== undefined) afterAll(() => void ip('netns', 'delete', NETWORK));
afterAll(() => opened.close());

describe.skipIf(bad === undefined)('200 ms of latency and 1 % loss between everybody', () => {
  let state: string;
  let api: PathApi;
  let web: Program;
  let caller: RunningProxy;
  const workload = idOf('catalogue');

  const relays: { readonly program: Program; readonly at: number }[] = [];
  /** The port of a relay to another one. */
  async function relay(to: number): Promise<number> {
    const { program, port } = await Program.start(opened, USERS.mail, 'relay', NETWORK);
    program.tell({ relay: { to, delay: 0 } });
    relays.push({ program, at: to });
    return port;
  }

  const run = async (code: number, ...argv: string[]) => {
    const ran = await command(...argv, '--state', state);
    expect([ran.code, ran.err]).toEqual([code, '']);
    return ran.out;
  };
  const calls = async (more: number) => {
    const { items } = await web.counts();
    const before = items?.ok ?? 0;
    await eventually(
      async () => ((await web.counts())['items']?.ok ?? 0) > before + more,
      'more calls',
      () => web.counts(),
    );
  };

  beforeAll(async () => {
    state = join(opened.dir(), 'plane');
    await initialise(state, DOMAIN, 'uid:0', realTimers);
    const serve = ['authority', 'serve', '--state', state, '--listen', '127.0.0.1:0'];
    const plane = interlockIn(opened, NETWORK, ...serve);
    const { fields } = await plane.log.line('the control plane serves');
    const address = `127.0.0.1:${await relay(Number(fields['port']))}`;
    api = new PathApi(state);
    await api.post('/v1/rules', { rules: readIdentityRules(RULES) });
    const dir = opened.dir();
    const token = await tokenOf(api, 'node-1');
    const where = ['--state', join(dir, 'agent'), '--socket', socketOf(dir), '--join-token', token];
    const agent = interlockIn(opened, NETWORK, 'agent', '--server', address, ...where);
    await agent.log.line('connected to the control plane');
    const common = { endpoint: `unix://${socketOf(dir)}`, address, network: NETWORK };
    const { port } = await Program.start(opened, USERS.catalogue, 'http', NETWORK);
    const inbound = [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, port: 8080 }];
    const catalogue = await startProxy(opened, {
      ...common,
      name: 'catalogue',
      uid: USERS.catalogue,
      inbound,
    });
    const to = `127.0.0.1:${await relay(catalogue.inbound[0] ?? 0)}`;
    const outbound = [{ listen: '127.0.0.1:0', to, peer: workload }];
    caller = await startProxy(opened, { ...common, name: 'web', uid: USERS.web, outbound });
    web = (await Program.start(opened, USERS.web, 'none', NETWORK)).program;
    const at = caller.outbound[0] ?? 0;
    const items = { name: 'items', port: at, method: 'POST', path: '/items', body: 'x'.repeat(50_000) };
    web.tell({ load: [items] });
    await calls(1);
    expect(bad?.begin()).toBe(true);
    for (const { program, at } of relays) program.tell({ relay: { to: at, delay: bad?.delay ?? 0 } });
    await calls(1);
  });

  test('fail no request, and no stage, release or report is lost on the way', async () => {
    const yaml = policyOf('catalogue', {
      web: { from: ['web'], to: '{ http: { methods: [POST], paths: [/items] } }' },
    });
    await api.post('/v1/policies', { yaml });
    const everyone = /1 of 1 proxy confirmed/;
    expect(await run(0, 'promote', workload, '--to', 'shadow', '--wait', '30s')).toMatch(everyone);
    await calls(3);
    expect(
      await run(
        0,
        'promote',
        workload,
        '--to',
        'canary',
        '--share',
        '100%',
        '--anyway',
        'a test',
        '--wait',
        '30s',
      ),
    ).toMatch(everyone);
    expect(
      await run(0, 'promote', workload, '--to', 'enforced', '--anyway', 'a test', '--wait', '30s'),
    ).toMatch(everyone);
    expect(await run(0, 'authentication', workload, 'strict', '--wait', '30s')).toMatch(everyone);
    await calls(3);
    // Somebody asks for what is not allowed, and it is reported.
    const other = (await Program.start(opened, USERS.web, 'none', NETWORK)).program;
    other.tell({ load: [{ name: 'admin', port: caller.outbound[0] ?? 0, method: 'GET', path: '/admin' }] });
    await eventually(
      async () => ((await other.counts())['admin']?.failed ?? 0) > 2,
      'refusals',
      () => other.counts(),
    );
    const { admin } = await other.rest();
    expect(admin?.ok).toBe(0);
    const refused = async () =>
      (await api.get<{ flips: FlipShown[] }>('/v1/flips')).flips
        .filter(({ action }) => action.path === '/admin')
        .reduce((sum, { count }) => sum + count, 0);
    await eventually(async () => (await refused()) === admin?.failed, 'every refusal, once', refused);
    expect(await run(0, 'release', '--all', '--reason', 'a try', '--wait', '30s')).toMatch(
      /2 of 2 proxies confirmed/,
    );
    await calls(3);
    expect(await run(0, 'arm', '--all', '--wait', '30s')).toMatch(/2 of 2 proxies confirmed/);
    await calls(3);
    const { items } = await web.rest();
    console.log(`${items?.ok} requests over a bad network, none of which has failed.`);
    expect(items).toMatchObject({ failed: 0, reasons: [] });
  });
});
