import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Opened } from '../identity/harness.ts';
import { idOf, Program, type RunningProxy } from './processes.ts';
import { Estate, eventually, type FlipShown, noShop, policyOf, type Service, USERS } from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('changes that go wrong, and connections that are open meanwhile');

const items = (paths: string) => `{ http: { methods: [GET], paths: [${paths}] } }`;

describe.skipIf(alone !== undefined)('a change of policy', () => {
  let estate: Estate;
  let catalogue: RunningProxy;
  let store: RunningProxy;
  let web: RunningProxy;

  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${web.outbound[0]}${path}`)).status;
  const apply = (yaml: string) => estate.plane.api.post('/v1/policies', { yaml });
  const promote = (service: Service, to: string, ...more: string[]) =>
    estate.run(0, 'promote', idOf(service), '--to', to, ...more, '--anyway', 'a test');
  const rolloutOf = async (service: Service) => {
    const { rollouts } = await estate.plane.api.get<{
      rollouts: { workload: string; stage: string; enforced?: string[] }[];
    }>('/v1/rollouts');
    return rollouts.find(({ workload }) => workload === idOf(service));
  };
  async function enforce(service: Service, yaml: string): Promise<void> {
    await apply(yaml);
    await promote(service, 'shadow');
    await promote(service, 'canary', '--share', '100%');
    await promote(service, 'enforced');
  }

  beforeAll(async () => {
    // A canary that goes on by itself only when it has seen many requests: it is what it refuses that counts here.
    estate = await Estate.start(opened, { canary: { steps: [1], stepMs: 0, requests: 1_000_000 } });
    const inbound = async (name: 'catalogue' | 'store', kind: 'http' | 'tcp') => {
      const { port } = await Program.start(opened, USERS[name], kind);
      const route = { listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, protocol: kind, port: 8080 };
      return estate.proxy(name, { inbound: [route] });
    };
    [catalogue, store] = await Promise.all([inbound('catalogue', 'http'), inbound('store', 'tcp')]);
    const way = (to: RunningProxy, peer: Service, protocol: string) => ({
      listen: '127.0.0.1:0',
      to: `127.0.0.1:${to.inbound[0]}`,
      peer: idOf(peer),
      protocol,
    });
    web = await estate.proxy('web', {
      outbound: [way(catalogue, 'catalogue', 'http'), way(store, 'store', 'tcp')],
    });
    await enforce('catalogue', policyOf('catalogue', { web: { from: ['web'], to: items('/items') } }));
    await enforce('store', policyOf('store', { web: { from: ['web'], to: '{ tcp: {} }' } }));
    expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
  });

  test('that would refuse what is known to be good is taken back by its canary, and the set before stays', async () => {
    await apply(policyOf('catalogue', { web: { from: ['web'], to: items('/other') } }));
    expect(await rolloutOf('catalogue')).toMatchObject({ stage: 'shadow', enforced: ['catalogue'] });
    expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
    const isItems = ({ action, refused }: FlipShown) => action.path === '/items' && !refused;
    expect(await estate.flip('catalogue', isItems)).toMatchObject({ after: { allowed: false } });
    await promote('catalogue', 'canary', '--share', '100%');
    expect([await ask('/items'), await ask('/other')]).toEqual([403, 200]);
    await eventually(
      async () => (await rolloutOf('catalogue'))?.stage === 'shadow',
      'the canary falls back',
      () => rolloutOf('catalogue'),
    );
    await estate.plane.log.line('a canary has moved', 'known-good', 'GET /items');
    await eventually(async () => (await ask('/items')) === 200, 'the set before is in force');
    expect([await ask('/items'), await ask('/other')]).toEqual([200, 403]);
    const { entries } = await estate.plane.api.get<{
      entries: { who: string; act: string; details?: { why?: string } }[];
    }>('/v1/audit');
    expect(
      JSON.stringify(entries.findLast(({ who, act }) => who === 'system' && act.startsWith('rollout.'))),
    ).toMatch(/rollout\.shadow.*known-good/);
  });

  /** A tunnel that works, and its end. */
  async function tunnel(): Promise<{
    readonly socket: Socket;
    readonly closed: Promise<void>;
    says(text: string): Promise<string>;
  }> {
    const socket = connect(web.outbound[1] ?? 0, '127.0.0.1');
    socket.on('error', () => {});
    opened.later(() => socket.destroy());
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const says = (text: string) =>
      new Promise<string>((resolve) => {
        socket.once('data', (bytes: Buffer) => resolve(String(bytes)));
        void closed.then(() => resolve('closed'));
        socket.write(text);
      });
    return { socket, closed, says };
  }

  test('closes the connections that it no longer allows, after the grace that it names', async () => {
    const open = await tunnel();
    expect(await open.says('one')).toBe('one');
    // Shadow denies nothing, and closes nothing.
    await apply(policyOf('store', { mail: { from: ['mail'], to: '{ tcp: {} }' } }));
    expect(await open.says('two')).toBe('two');
    await promote('store', 'canary', '--share', '100%');
    await promote('store', 'enforced');
    // Denied from now on, and yet the one that was open has its second.
    expect(await (await tunnel()).says('new')).toBe('closed');
    expect(await open.says('three')).toBe('three');
    await open.closed;
    await store.log.line('cut', 'policy no longer allows it');
  });

  test('that is released lets new connections in, and arm closes them again', async () => {
    expect(await (await tunnel()).says('denied')).toBe('closed');
    await estate.run(0, 'release', '--workload', idOf('store'), '--reason', 'a try');
    const open = await tunnel();
    expect(await open.says('one')).toBe('one');
    await estate.run(0, 'arm', '--all');
    await open.closed;
  });

  test('is not what ends a connection whose identity is revoked: that is at once', async () => {
    await enforce('store', policyOf('store', { web: { from: ['web'], to: '{ tcp: {} }' } }));
    const open = await tunnel();
    expect(await open.says('one')).toBe('one');
    await estate.run(0, 'identity', 'revoke', idOf('web'), '--reason', 'keyCompromise');
    await open.closed;
    await store.log.line('cut', 'revoked');
  });
});
