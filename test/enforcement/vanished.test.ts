import { spawnSync } from 'node:child_process';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Node, Opened, Plane } from '../identity/harness.ts';
import { idOf, Program, type ProxyOrder, type RunningProxy, startProxy } from './processes.ts';
import { eventually, noShop, RULES, type Service, USERS } from './shop.ts';

const opened = new Opened();

/** A network of its own, which goes away with the test. */
const NETWORK = `interlock-gone-${process.pid}`;
/** How long a proxy of this test waits for a word of the other end. */
const PATIENCE_MS = 6000;

const ip = (...args: readonly string[]) => spawnSync('ip', args, { stdio: 'pipe' }).status === 0;
const nft = (input: string) =>
  spawnSync('ip', ['netns', 'exec', NETWORK, 'nft', '-f', '-'], { stdio: 'pipe', input }).status === 0;

/** From now on nothing comes through to these ports or from them: not even that somebody has gone. */
const cutOff = (ports: readonly number[]) => {
  const those = `{ ${ports.join(', ')} }`;
  const rules = `tcp dport ${those} drop; tcp sport ${those} drop`;
  return nft(`table inet gone { chain in { type filter hook input priority 0; ${rules}; }; }\n`);
};
const mended = () => nft('flush ruleset\n');

/** Whether networks can be made here, and cut; a sentence where they cannot. */
function canCut(): boolean {
  if (noShop('callers and peers that vanish') !== undefined) return false;
  if (ip('netns', 'add', NETWORK) && ip('-n', NETWORK, 'link', 'set', 'lo', 'up') && cutOff([9]) && mended())
    return true;
  console.log('Left out: callers and peers that vanish: "ip netns" and "nft" do not work here.');
  ip('netns', 'delete', NETWORK);
  return false;
}
const works = canCut();
if (works) afterAll(() => void ip('netns', 'delete', NETWORK));
afterAll(() => opened.close());

describe.skipIf(!works)('connections whose other end has vanished without a word', () => {
  let endpoint: string;
  let catalogue: RunningProxy;
  let store: RunningProxy;
  let web: RunningProxy;
  let program: Program;

  const proxy = (name: Service, order: Partial<ProxyOrder>) => {
    const timeouts = { idle: PATIENCE_MS, exchange: PATIENCE_MS, tunnel: PATIENCE_MS, connect: 1000 };
    return startProxy(opened, { name, uid: USERS[name], network: NETWORK, endpoint, timeouts, ...order });
  };
  const portOf = ({ inbound }: RunningProxy) => inbound[0] ?? 0;

  /** Connections that a proxy has open, as it says itself. */
  const open = ({ socketPath }: RunningProxy) =>
    new Promise<number>((resolve, reject) => {
      request({ socketPath, path: '/v1/state' }, (response) => {
        let text = '';
        response.on('data', (bytes: Buffer) => (text += String(bytes)));
        // What local-api.ts answers.
        response.on('end', () => resolve((JSON.parse(text) as { connections: number }).connections));
      })
        .on('error', reject)
        .end();
    });
  const both = async () => [await open(catalogue), await open(store)] as const;

  beforeAll(async () => {
    const plane = await Plane.start(opened, { rules: RULES });
    const node = await Node.online(opened, { address: plane.address, token: await plane.token('node-1') });
    ({ endpoint } = node);
    const behind = async (name: 'catalogue' | 'store', protocol: 'http' | 'tcp') => {
      const { port } = await Program.start(opened, USERS[name], protocol, NETWORK);
      const route = { listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, protocol, port: 8080 };
      return proxy(name, { inbound: [route] });
    };
    [catalogue, store] = await Promise.all([behind('catalogue', 'http'), behind('store', 'tcp')]);
    const way = (to: RunningProxy, peer: Service, protocol: string) => ({
      listen: '127.0.0.1:0',
      to: `127.0.0.1:${portOf(to)}`,
      peer: idOf(peer),
      protocol,
    });
    const outbound = [way(catalogue, 'catalogue', 'http'), way(store, 'store', 'tcp')];
    web = await proxy('web', { outbound });
    program = (await Program.start(opened, USERS.web, 'none', NETWORK)).program;
  });

  test('of a caller are ended in time: one in the middle of a body, one that is kept alive, a tunnel', async () => {
    const [http = 0, tcp = 0] = web.outbound;
    await program.say(http, 'POST /items HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf');
    await eventually(async () => (await open(catalogue)) === 1, 'the body that is on its way', both);
    await program.say(http, 'GET /items HTTP/1.1\r\nhost: x\r\n\r\n');
    await program.say(tcp, 'hello');
    const isAll = async () => String(await both()) === '2,1';
    await eventually(isAll, 'all three', both);
    expect(cutOff([portOf(catalogue), portOf(store)])).toBe(true);
    await web.kill();
    // Nobody has told the proxies.
    expect(await both()).toEqual([2, 1]);
    await eventually(async () => String(await both()) === '0,0', 'none is open any more', both);
    expect(mended()).toBe(true);
    web = await startProxy(opened, web.order);
    program.tell({ load: [{ name: 'items', port: web.outbound[0] ?? 0, path: '/items' }] });
    const isServed = async () => ((await program.counts())['items']?.ok ?? 0) > 3;
    await eventually(isServed, 'those who come now', () => program.counts());
    expect(await program.rest()).toMatchObject({ items: { failed: 0, reasons: [] } });
  });

  test('of a peer: its callers are told in time, and served again once it is back', async () => {
    program.tell({ load: [{ name: 'items', port: web.outbound[0] ?? 0, path: '/items' }] });
    const isServed = (more: number) => async () => ((await program.counts())['items']?.ok ?? 0) > more;
    await eventually(isServed(3), 'calls', () => program.counts());
    expect(cutOff([portOf(catalogue)])).toBe(true);
    await catalogue.kill();
    const told = await eventually(
      async () => {
        const { items } = await program.counts();
        return (items?.failed ?? 0) > 1 && items;
      },
      'callers are told',
      () => program.counts(),
    );
    for (const reason of told.reasons) expect(reason).toMatch(/ 50[234] /);
    expect(mended()).toBe(true);
    catalogue = await startProxy(opened, catalogue.order);
    await eventually(isServed(told.ok + 3), 'calls, once the peer is back', () => program.counts());
    await program.rest();
  });
});
