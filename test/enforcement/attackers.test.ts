import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import { FromProxySchema } from '../../src/proto/proxy/index.ts';
import { openControlStream } from '../../src/proxy/index.ts';
import { authorizeAny, connectMtls, X509Source, type X509View } from '../../src/workload/index.ts';
import { forgeLeaf, type Stolen, stolenKey, viewOf } from '../identity/forge.ts';
import { Opened, Plane } from '../identity/harness.ts';
import { idOf, Program, type RunningProxy, startProxy } from './processes.ts';
import {
  type Denied,
  Estate,
  eventually,
  type FlipShown,
  noShop,
  policyOf,
  RULES,
  type Service,
  USERS,
} from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('attackers at proxies that enforce');

/** A child authority, as a business area has one: its key is what a thief gets. */
const AREA_RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: pay-authority }
spec:
  spiffeId: /authorities/pay
  nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/join_token/pay"] }
  downstream: { prefixes: ["/area/pay/"] }
---
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: tester }
spec: { spiffeId: /ns/shop/sa/web, selectors: ["unix:uid:0"], ttl: 1h }
`;
const OUTSIDE = 'it may speak only for';
const REQUEST = 'GET /items HTTP/1.1\r\nhost: catalogue\r\nconnection: close\r\n\r\n';

/** All that comes over a connection until it ends, however that is. */
function all(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

describe.skipIf(alone !== undefined)('an attacker', () => {
  let estate: Estate;
  let catalogue: { readonly program: Program; readonly proxy: RunningProxy };
  let store: { readonly program: Program; readonly proxy: RunningProxy };
  let good: X509Source;
  /** Refusals of callers without an identity when the test began. */
  let known: { readonly catalogue: number; readonly store: number };
  let seen: readonly (readonly string[])[];

  const port = ({ proxy }: typeof catalogue) => proxy.inbound[0] ?? 0;
  const plain = (to: typeof catalogue) => {
    const socket = connectTcp({ host: '127.0.0.1', port: port(to) });
    opened.later(() => socket.destroy());
    return socket;
  };
  async function mutual(to: typeof catalogue, source: X509View): Promise<TLSSocket> {
    const at = { host: '127.0.0.1', port: port(to) };
    const { socket } = await connectMtls(at, { source, authorize: authorizeAny() });
    opened.later(() => socket.destroy());
    return socket;
  }
  const ofAddress = ({ from }: Denied) => from === 'unauthenticated:127.0.0.1';
  /** Waits until the evidence has a refusal more than `known`, the count before. */
  async function recorded(service: Service, fits: (access: Denied) => boolean, known = 0): Promise<number> {
    return eventually(
      async () => {
        const now = await estate.denials(service, fits);
        return now > known ? now : undefined;
      },
      `a refusal at ${service}`,
      () => estate.flips(service),
    );
  }
  const linesOf = ({ proxy }: typeof catalogue) => proxy.log.lines.length;

  beforeAll(async () => {
    estate = await Estate.start(opened, { rules: `${RULES}---${AREA_RULE}` });
    const start = async (name: 'catalogue' | 'store', kind: 'http' | 'tcp') => {
      const { program, port } = await Program.start(opened, USERS[name], kind);
      const route = { listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, protocol: kind, port: 8080 };
      return { program, proxy: await estate.proxy(name, { inbound: [route] }) };
    };
    [catalogue, store] = await Promise.all([start('catalogue', 'http'), start('store', 'tcp')]);
    const policies = {
      catalogue: policyOf('catalogue', {
        web: { from: ['web'], to: '{ http: { methods: [GET], paths: [/items] } }' },
      }),
      store: policyOf('store', { web: { from: ['web'], to: '{ tcp: {} }' } }),
    };
    for (const [service, yaml] of Object.entries(policies)) {
      const workload = idOf(service);
      await estate.plane.api.post('/v1/policies', { yaml });
      await estate.plane.api.call('rollouts.move', { params: { workload }, body: { to: 'shadow' } });
      await estate.plane.api.call('rollouts.move', {
        params: { workload },
        body: { to: 'canary', share: 1, anyway: 'a test' },
      });
      await estate.run(0, 'promote', workload, '--to', 'enforced', '--anyway', 'a test');
      await estate.run(0, 'authentication', workload, 'strict');
    }
    good = await X509Source.open({ endpoint: estate.node.endpoint });
    opened.later(() => good.close());
  });

  beforeEach(async () => {
    seen = [await catalogue.program.seen(), await store.program.seen()];
    known = {
      catalogue: await estate.denials('catalogue', ofAddress),
      store: await estate.denials('store', ofAddress),
    };
  });

  /** Nothing has reached the programs since the test began. */
  async function unreached(): Promise<void> {
    expect([await catalogue.program.seen(), await store.program.seen()]).toEqual(seen);
  }

  test('is none who has the right identity: what follows is about who calls, and nothing else', async () => {
    const socket = await mutual(catalogue, good);
    socket.write(REQUEST);
    expect(await all(socket)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    const tunnel = await mutual(store, good);
    tunnel.end('hello');
    expect(await all(tunnel)).toBe('hello');
    expect((await catalogue.program.seen()).at(-1)).toBe(
      `GET /items By=${idOf('catalogue')};URI=${idOf('web')}`,
    );
  });

  test('with a place in the network and no TLS gets no answer, and is recorded with the address', async () => {
    const from = linesOf(catalogue);
    const socket = plain(catalogue);
    socket.write(REQUEST);
    const answer = await all(socket);
    // At most a TLS alert: not one byte of HTTP.
    expect(answer).not.toContain('HTTP');
    expect(answer.length).toBeLessThan(16);
    await catalogue.proxy.log.lineFrom(from, 'refused', 'no mutual TLS', '127.0.0.1:');
    await recorded('catalogue', ofAddress, known.catalogue);
    await unreached();
  });

  test('with TLS and no certificate is refused and recorded', async () => {
    const from = linesOf(store);
    const socket = connectTls({ host: '127.0.0.1', port: port(store), rejectUnauthorized: false });
    opened.later(() => socket.destroy());
    socket.write('hello');
    expect(await all(socket)).toBe('');
    await store.proxy.log.lineFrom(from, 'refused', 'the peer sent no certificate', '127.0.0.1:');
    await recorded('store', ofAddress, known.store);
    await unreached();
  });

  test('with a valid identity of the wrong service is denied, and named', async () => {
    const mail = await startProxy(opened, {
      name: 'mail',
      uid: USERS.mail,
      endpoint: estate.node.endpoint,
      outbound: [
        { listen: '127.0.0.1:0', to: `127.0.0.1:${port(catalogue)}`, peer: idOf('catalogue') },
        { listen: '127.0.0.1:0', to: `127.0.0.1:${port(store)}`, peer: idOf('store'), protocol: 'tcp' },
      ],
    });
    const from = linesOf(catalogue);
    const answer = await fetch(`http://127.0.0.1:${mail.outbound[0]}/items`);
    expect([answer.status, await answer.text()]).toEqual([403, 'access denied\n']);
    expect([...answer.headers.keys()].toSorted()).toEqual(['content-length', 'content-type']);
    const socket = connectTcp({ host: '127.0.0.1', port: mail.outbound[1] ?? 0 }, () =>
      socket.write('hello'),
    );
    expect(await all(socket)).toBe('');
    await catalogue.proxy.log.lineFrom(from, 'denied', 'no-rule', idOf('mail'), 'GET /items');
    const isMail = ({ from: { id }, refused }: FlipShown) => refused && id === idOf('mail');
    const flip = await estate.flip('catalogue', isMail);
    expect(flip).toMatchObject({
      action: { kind: 'http', method: 'GET', path: '/items' },
      after: { allowed: false, decidedBy: 'no-rule' },
    });
    await estate.flip('store', isMail);
    await unreached();
  });

  test('who is let in may do what the rules say, and no more', async () => {
    const asked = [
      ['DELETE', '/items'],
      ['GET', '/items/1'],
      ['GET', '/admin'],
    ] as const;
    for (const [method, path] of asked) {
      const socket = await mutual(catalogue, good);
      socket.write(`${method} ${path} HTTP/1.1\r\nhost: catalogue\r\nconnection: close\r\n\r\n`);
      expect(await all(socket)).toMatch(/^HTTP\/1\.1 403 /);
    }
    for (const [method, path] of asked) {
      const fits = ({ refused, from, action }: FlipShown) =>
        refused && from.id === idOf('web') && action.method === method && action.path === path;
      await estate.flip('catalogue', fits);
    }
    await unreached();
  });

  test('with a leaf that the authority of another area has signed is refused, and the log says whose it was', async () => {
    const { plane } = estate;
    const parent = { address: plane.address, joinToken: await plane.token('pay') };
    const area = await Plane.start(opened, {
      parent,
      rules: AREA_RULE.slice(AREA_RULE.indexOf('---') + 3).replace('/ns/shop/sa/web', '/area/pay/tester'),
    });
    const [slot] = area.serving.plane.authorities.slots;
    if (slot === undefined) throw new TypeError('a child authority that serves has an intermediate');
    const stolen: Stolen = {
      chain: [...slot.intermediates, slot.root],
      signer: stolenKey(area.state, slot.id),
    };
    const mint = (id: string) => viewOf(forgeLeaf(stolen, id), good.bundles);
    // Of its own area it is believed, and denied by policy: the chain as such is sound.
    const own = await mutual(catalogue, mint('spiffe://example.org/area/pay/anybody'));
    own.write(REQUEST);
    expect(await all(own)).toMatch(/^HTTP\/1\.1 403 /);
    for (const target of [catalogue, store]) {
      const from = linesOf(target);
      const forged = await mutual(target, mint(idOf('web')));
      forged.write(REQUEST);
      expect(await all(forged)).toBe('');
      await target.proxy.log.lineFrom(from, 'refused', OUTSIDE);
    }
    // Not as web, whom the leaf names: what it says of itself is not proven.
    await recorded('catalogue', ofAddress, known.catalogue);
    await recorded('store', ofAddress, known.store);
    await unreached();
  });

  test('who replays a PROXY header of a trusted peer is refused: no program believes it', async () => {
    const header = 'PROXY TCP4 10.0.0.1 10.0.0.2 40000 8080\r\n';
    // Before TLS: the port trusts nobody with one.
    const before = plain(store);
    const from = linesOf(store);
    before.write(`${header}hello`);
    expect(await all(before)).not.toContain('hello');
    await store.proxy.log.lineFrom(from, 'refused', 'no mutual TLS');
    await recorded('store', ofAddress, known.store);
    // Inside TLS, from one who may call, but not speak for others.
    const at = linesOf(store);
    const inside = await mutual(store, good);
    inside.write(`${header}hello`);
    expect(await all(inside)).toBe('');
    await store.proxy.log.lineFrom(at, 'refused', 'a PROXY header of a peer that is not trusted with one');
    await recorded('store', ({ from }) => from === idOf('web'));
    const told = linesOf(catalogue);
    const http = await mutual(catalogue, good);
    http.write(header + REQUEST);
    expect(await all(http)).toMatch(/^HTTP\/1\.1 400 /);
    // Who it was is known; what it wanted is not, so there is no access to be recorded.
    await catalogue.proxy.log.lineFrom(told, 'bad-request', idOf('web'));
    await unreached();
  });

  test('cannot tell the program who calls: what a caller says of itself is taken away', async () => {
    const socket = await mutual(catalogue, good);
    const claims = `x-forwarded-client-cert: By=x;URI=${idOf('mail')}\r\nX-Forwarded-Client-Cert: URI=${idOf('mail')}\r\n`;
    socket.write(REQUEST.replace('connection', `${claims}connection`));
    expect(await all(socket)).toMatch(/^HTTP\/1\.1 200 /);
    expect((await catalogue.program.seen()).at(-1)).toBe(
      `GET /items By=${idOf('catalogue')};URI=${idOf('web')}`,
    );
  });

  test('in plain text at a port that still takes it is recorded, and denied by the rules', async () => {
    await estate.run(0, 'authentication', idOf('catalogue'), 'permissive');
    const socket = plain(catalogue);
    socket.write(REQUEST);
    expect(await all(socket)).toMatch(/^HTTP\/1\.1 403 /);
    await recorded('catalogue', (access) => ofAddress(access) && access.action.path === '/items');
    const told = await estate.run(3, 'preflight', 'strict', idOf('catalogue'));
    expect(told).toMatch(/plaintext +FAILED +1 in the last day +.*127\.0\.0\.1/);
    await estate.run(0, 'authentication', idOf('catalogue'), 'strict');
    await unreached();
  });

  test('as a proxy that wants the policies of others is refused by the control plane', async () => {
    const over = Promise.withResolvers<Error>();
    const told: string[] = [];
    const server = parseSpiffeId('spiffe://example.org/interlock/server');
    const stream = openControlStream(
      { address: estate.plane.address, server, source: good },
      { onMessage: ({ case: kind }) => told.push(String(kind)), onDrain: () => {}, onEnd: over.resolve },
    );
    const workloads = [idOf('web'), idOf('catalogue')];
    const value = { version: 'x', instance: 'thief', workloads, stateVersion: 0n, now: 0n };
    stream.send(create(FromProxySchema, { message: { case: 'hello', value } }));
    expect((await over.promise).message).toContain(`${idOf('web')} may not enforce for ${idOf('catalogue')}`);
    expect(told).toEqual([]);
    await estate.plane.log.line('a proxy was refused', idOf('web'));
    const { points } = await estate.plane.api.get<{ points: { instance: string }[] }>('/v1/points');
    expect(points.map(({ instance }) => instance).toSorted()).toEqual(['catalogue', 'store']);
  });
});
