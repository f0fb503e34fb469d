import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import { parseCertificates, positionOf, SETTLE_MS, verifyX509Svid } from '../../src/identity/index.ts';
import { realTimers } from '../../src/server/index.ts';
import { JwtSource } from '../../src/workload/index.ts';
import { Node, Opened, Plane, Stream } from './harness.ts';
import { noOtherUsers, type Running, workload } from './processes.ts';
import { DEADLINE_MS, Watched } from './watched.ts';

const opened = new Opened();
afterEach(() => opened.close());
afterAll(() => opened.close());

const alone = noOtherUsers();
if (alone !== undefined) console.log(`Left out: cutovers between processes of several users: ${alone}.`);

const rule = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/uid/{unix.uid}", when: "true", ttl: 1h }
`;
/** Signed by an authority of their own, so that the agent's SVID is not replaced along with theirs. */
const ruleOfA = rule.replace('ttl: 1h', 'ttl: 1h, authority: work');
/** At the other control plane: what it certifies for this one, and which bundle it takes of it. */
const rights = (domain: string, of: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: a-authority }
spec:
  spiffeId: /authorities/a
  nodes: { selectors: ["agent:id:spiffe://${domain}/interlock/agent/join_token/a"] }
  downstream: { prefixes: ["/uid/"], trustDomains: [${of}] }
`;

/** Two control planes, one with an authority of the other under the name "to-b"; agents had their time to connect. */
async function estate(ofA: string, ofB: string) {
  let behind = SETTLE_MS;
  const timers = { ...realTimers, now: () => Date.now() - behind };
  const b = await Plane.start(opened, { domain: { trustDomain: ofB }, rules: rule });
  const a = await Plane.start(opened, { domain: { trustDomain: ofA }, rules: ruleOfA, timers });
  await a.api.post('/v1/authorities/prepare', { name: 'work' });
  behind = 0;
  await b.apply(rights(ofB, ofA));
  const order = { name: 'to-b', address: b.address, joinToken: await b.token('a') };
  await a.api.post('/v1/authorities/join', order);
  const node = await Node.online(opened, { address: a.address, token: await a.token('node') });
  return { a, b, node };
}

const cutover = async (plane: Plane, path = '', body: object = {}) =>
  plane.api.post<{ state: string }>(`/v1/cutovers${path}`, body);

async function running(plane: Plane, share: number): Promise<void> {
  await cutover(plane, '', { id: 'c', from: 'work', to: 'to-b', share });
  const { cutovers } = plane.serving.plane;
  const end = realTimers.now() + DEADLINE_MS;
  while (cutovers.list()[0]?.state !== 'running') {
    if (realTimers.now() > end) throw new Error('the cutover does not begin');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Has every workload of the node renew its SVID now, whoever has signed it. */
function renewAll(plane: Plane): void {
  const { authorities, link } = plane.serving.plane;
  for (const { id, name } of authorities.slots)
    if (name !== 'default') link.replace({ authority: id, overMs: 0 });
}

/** Waits until two IDs have met in a process, from line number `from` on, signed by the authorities of these key IDs. */
function met(process: Running, ids: readonly string[], from = 0, keys?: readonly string[]): Promise<unknown> {
  const { said } = process;
  const fits = ({ met, by }: Record<string, unknown>) =>
    String(met) === ids.join() && (keys === undefined || String(by) === keys.join());
  return said.until(
    () => said.all.slice(from).find(fits),
    ids.join(' meets '),
    () => JSON.stringify(said.all),
  );
}

const failures = (processes: readonly Running[]) =>
  processes.flatMap(({ said }) => said.all.filter((value) => 'failed' in value));

describe.skipIf(alone !== undefined)('a cutover to another trust domain', () => {
  test('moves one workload, then the other, and both back, and no handshake between them fails', async () => {
    const { a, node } = await estate('a.example', 'b.example');
    const id = (domain: string, uid: number) => `spiffe://${domain}.example/uid/${uid}`;
    const [one, two] = [1001, 1002];
    const first = workload(opened, one, 'mesh', node.endpoint);
    const call = async (uid: number, to: Running) => {
      const { port } = await to.said.with('port');
      return workload(opened, uid, 'mesh', node.endpoint, String(port));
    };
    const second = await call(two, first);
    const third = await call(one, second);
    const all = [first, second, third];
    const both = async (of: (uid: number) => string) => {
      const from = all.map(({ said }) => said.all.length);
      return () =>
        Promise.all([met(second, [of(two), of(one)], from[1]), met(third, [of(one), of(two)], from[2])]);
    };
    const stage = async (of: (uid: number) => string, act: () => Promise<unknown>) => {
      const done = await both(of);
      await act();
      renewAll(a);
      await done();
    };
    await Promise.all([met(second, [id('a', two), id('a', one)]), met(third, [id('a', one), id('a', two)])]);

    const positions = [one, two].map((uid) => positionOf('c', parseSpiffeId(id('a', uid))));
    const between = positions.reduce((sum, position) => sum + position, 0) / 2;
    const half = (uid: number) => id(positionOf('c', parseSpiffeId(id('a', uid))) < between ? 'b' : 'a', uid);
    await stage(half, () => running(a, between));
    await stage(
      (uid) => id('b', uid),
      () => cutover(a, '/c/raise', { share: 1 }),
    );
    await stage(half, () => cutover(a, '/c/back', { share: between }));
    await stage(
      (uid) => id('a', uid),
      () => cutover(a, '/c/back', { share: 0 }),
    );
    expect(await cutover(a, '/c/finish')).toEqual({ id: 'c', state: 'undone' });
    expect(failures(all)).toEqual([]);
  });
});

describe('a workload that a cutover moves to another trust domain', () => {
  test('is served the new ID with its own bundle, both domains known, and tokens for the new ID', async () => {
    const { a, b, node } = await estate('a.example', 'b.example');
    const uid = process.getuid?.() ?? 0;
    const stream = Stream.open(opened, node.endpoint);
    await stream.svid(({ spiffeId }) => spiffeId === `spiffe://a.example/uid/${uid}`, 'the first ID');
    expect(Object.keys(stream.latest?.federatedBundles ?? {})).toEqual([]);
    await running(a, 1);
    // Before anybody moves.
    await stream.state(({ federatedBundles }) => 'spiffe://b.example' in federatedBundles, 'the new bundle');
    expect(stream.latest?.svids[0]?.spiffeId).toBe(`spiffe://a.example/uid/${uid}`);
    renewAll(a);
    const moved = `spiffe://b.example/uid/${uid}`;
    const svid = await stream.svid(({ spiffeId }) => spiffeId === moved, 'the ID that it has moved to');
    const { bundles } = b.serving.plane.registry.bundles.current.value;
    expect(verifyX509Svid(parseCertificates(svid.x509Svid), { bundles, now: Date.now() }).spiffeId).toBe(
      moved,
    );
    expect(svid.bundle).toEqual(Buffer.from(bundles.get('b.example')?.x509Authorities[0] ?? []));
    expect(Object.keys(stream.latest?.federatedBundles ?? {})).toEqual(['spiffe://a.example']);

    const jwts = await JwtSource.open({ endpoint: node.endpoint });
    opened.later(() => jwts.close());
    const token = await jwts.fetchJwtSvid('db');
    expect(token.spiffeId).toBe(moved);
    // The same agent, started again while the control plane is there, and its state.
    await node.agent.close();
    const again = await Node.online(opened, { address: a.address, dir: node.dir });
    const after = Stream.open(opened, again.endpoint);
    await after.svid(({ spiffeId }) => spiffeId === moved, 'the ID after a restart of the agent');
    await cutover(a, '/c/back');
    // The control plane declares the domain no more: an ID of it is served to nobody, due or not.
    const { registry, recorder } = a.serving.plane;
    const abroad = { ...registry.abroad, targets: [] };
    await registry.step(async () => ({
      step: { abroad },
      entry: recorder.entry('uid:0', 'test', 'targets'),
    }));
    await after.svid(({ spiffeId }) => spiffeId === `spiffe://a.example/uid/${uid}`, 'the first ID again');
  });
});

describe.skipIf(alone !== undefined)('a cutover to another region of the same trust domain', () => {
  test('keeps the IDs, and no handshake fails, within this region and with the other', async () => {
    const { a, b, node } = await estate('example.org', 'example.org');
    const theirs = await Node.online(opened, { address: b.address, token: await b.token('node') });
    const { bundles } = b.serving.plane.registry;
    const there = new Watched();
    opened.later(bundles.subscribe(() => there.changed()));
    await there.until(() => bundles.current.value.regions !== undefined, 'the roots of this region there');
    const here = workload(opened, 1001, 'mesh', node.endpoint);
    const { port } = await here.said.with('port');
    const near = workload(opened, 1002, 'mesh', node.endpoint, String(port));
    const far = workload(opened, 1003, 'mesh', theirs.endpoint, String(port));
    const id = (uid: number) => `spiffe://example.org/uid/${uid}`;
    await Promise.all([met(near, [id(1002), id(1001)]), met(far, [id(1003), id(1001)])]);

    // The other region's control plane has the ID of this one's: an agent of this one is not led to it all the same.
    const led = await Node.online(opened, { address: a.address, token: await a.token('led') });
    await led.agent.close();
    const astray = await Node.start(opened, { address: b.address, dir: led.dir });
    const { text } = await astray.log.line('not connected to the control plane');
    // The agent's own refusal: the other side does not let it in either.
    expect(text).toMatch(/self-signed|unable to verify|issuer certificate/);
    await astray.agent.close();

    const keyOf = (plane: Plane, name: string) =>
      plane.serving.plane.authorities.slots.find((slot) => slot.name === name)?.id ?? '';
    const all = async (name: string) => {
      const from = [near, far].map(({ said }) => said.all.length);
      renewAll(a);
      const key = keyOf(a, name);
      await Promise.all([
        met(near, [id(1002), id(1001)], from[0], [key, key]),
        met(far, [id(1003), id(1001)], from[1], [keyOf(b, 'default'), key]),
      ]);
    };
    await running(a, 1);
    await all('to-b');
    await cutover(a, '/c/back');
    await all('work');
    expect(failures([here, near, far])).toEqual([]);
  });
});
