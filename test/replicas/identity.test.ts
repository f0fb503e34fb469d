import { createPublicKey } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import { generateKey, createRequest, keyIdOf, parseCertificate } from '../../src/identity/index.ts';
import { newSecret } from '../../src/server/sign-in/secret.ts';
import { Sessions } from '../../src/server/sign-in/sessions.ts';
import { HOUR, TestAgent, type TestConnection, UID_RULE, WHO } from '../../src/server/testing.test-helper.ts';
import { databaseClock } from '../../src/server/database-clock.ts';
import { realTimers } from '../../src/server/timers.ts';
import { hasPostgres, newPostgresUrl, startServer } from '../../src/store/postgres/server.test-helper.ts';
import { databaseOf } from '../../src/store/postgres/raw.test-helper.ts';
import { lockOf } from '../../src/store/postgres/migrate.ts';
import { agentId, MovedTimers, newKeyFile, SharedPlane, until } from './planes.test-helper.ts';

/** A rule for one uid, by a name of its own. */
const ruleFor = (name: string, path: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: "${path}", ttl: 1h, selectors: ["unix:uid:7"] }
`;

const open = new Set<TestConnection>();
const connected = (agent: TestAgent, to: SharedPlane) => {
  const connection = agent.connect({ to });
  open.add(connection);
  return connection;
};
afterEach(() => {
  for (const connection of open) connection.close();
  open.clear();
});

describe.skipIf(!hasPostgres)('two control planes of one database', () => {
  let url = '';
  let keyFile = '';
  let a: SharedPlane;
  let b: SharedPlane;

  beforeAll(async () => {
    url = await newPostgresUrl();
    keyFile = newKeyFile();
    // At once, on a database without tables: one sets the trust domain up, and both serve it.
    [a, b] = await Promise.all([SharedPlane.start({ url, keyFile }), SharedPlane.start({ url, keyFile })]);
    await a.apply(UID_RULE);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([a?.close(), b?.close()]);
  }, 30_000);

  test('have one authority, whose keys are in the database, and sealed', async () => {
    expect(a.activeAuthority()).toBe(b.activeAuthority());
    expect(a.plane.authorities.slots).toHaveLength(1);
    const [slot] = b.plane.authorities.slots;
    const key = await b.plane.keys.vault.get(slot?.id ?? '');
    expect(keyIdOf(createPublicKey(key).export({ type: 'spki', format: 'der' }))).toBe(slot?.id);
    const db = await databaseOf(url);
    const { rows } = await db.query('select data::text as data from document');
    await db.end();
    const all = rows.map(({ data }) => String(data)).join('\n');
    for (const format of ['pem', 'der'] as const) {
      const plain = Buffer.from(key.export({ type: 'pkcs8', format }) as string & Buffer);
      expect(all).not.toContain(plain.toString('base64').slice(40, 80));
    }
  });

  test('refuse one with another key file', async () => {
    await expect(SharedPlane.start({ url, keyFile: newKeyFile() })).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('same file'),
    });
  });

  test('know an agent that has attested at the other one, at once', async () => {
    const agent = await a.agent('moves');
    const at = connected(agent, b);
    await at.states();
    const { chain } = await at.sign(7);
    expect(parseCertificate(chain[0] ?? Buffer.alloc(0)).uriNames).toEqual(['spiffe://example.org/uid/7']);
    at.send({
      case: 'renew',
      value: {
        $typeName: 'interlock.agent.v1.Renew',
        request: 99n,
        csr: createRequest(generateKey('ec-p256')),
      },
    });
    const renewed = await at.next('signedX509', ({ request }) => request === 99n);
    expect(renewed.authority).toBe(a.activeAuthority());
  });

  test('give a join token away once', async () => {
    const token = await a.token('once');
    const both = [a, b].map((plane) => new TestAgent(plane).attest('join_token', token));
    const done = await Promise.allSettled(both);
    expect(done.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test('tell the agents of both what one of them changes', async () => {
    const at = connected(await b.agent('told'), b);
    const { rules, revocations } = await at.states();
    const took: number[] = [];
    for (const path of ['/blue', '/green', '/red']) {
      const began = performance.now();
      await a.apply(ruleFor('colour', path));
      const told = await at.next('rules', ({ version }) => version > rules.version);
      took.push(performance.now() - began);
      expect(told.version).toBe(BigInt(a.plane.registry.rules.current.version));
      const { chain } = await at.sign(7, { rule: 'colour', spiffeId: `spiffe://example.org${path}` });
      expect(chain.length).toBeGreaterThan(0);
    }
    console.log(`a rule put at one reached an agent of the other in ${took.map(Math.round).join(', ')} ms`);
    const began = performance.now();
    const revoked = 'spiffe://example.org/red';
    await a.plane.revoking.revokeId(WHO, parseSpiffeId(revoked), 'keyCompromise');
    await at.next(
      'revocations',
      ({ version, spiffeIds, crls }) =>
        version > revocations.version && spiffeIds.includes(revoked) && crls.length > 0,
    );
    console.log(`a revocation in ${Math.round(performance.now() - began)} ms`);
    await expect(at.sign(7, { rule: 'colour', spiffeId: revoked })).rejects.toThrow('revoked');
    // And what is allowed again at the other one is so at both.
    await b.plane.revoking.allow(WHO, parseSpiffeId(revoked));
    await a.until('revocations', () => !a.plane.registry.revocations.current.value.spiffeIds.has(revoked));
  });

  test('make every change of both, where they change the same at once', async () => {
    const names = Array.from({ length: 24 }, (_, i) => `rule-${i}`);
    const before = a.plane.registry.rules.current.version;
    await Promise.all(names.map((name, i) => (i % 2 === 0 ? a : b).apply(ruleFor(name, `/${name}`))));
    for (const plane of [a, b]) {
      await plane.until('rules', () => plane.plane.registry.rules.current.version === before + 24);
      const known = plane.plane.registry.rules.current.value;
      expect(names.filter((name) => known.get(name) === undefined)).toEqual([]);
    }
  });

  test('evict an agent at both, also at one that has not heard of it', async () => {
    const agent = await a.agent('evicted');
    const id = agentId('evicted');
    const deaf = connected(agent, b);
    await deaf.states();
    b.plane.following.stop();
    try {
      await a.plane.agents.evict(WHO, id, 'keyCompromise');
      await expect(deaf.sign(7)).rejects.toMatchObject({ code: 'forbidden' });
      // And one that has attested meanwhile is looked for.
      const late = connected(await a.agent('late'), b);
      await late.states();
      expect((await late.sign(7)).authority).toBe(b.activeAuthority());
      expect((await a.plane.store.issued({ agent: id, kind: 'workload' })).length).toBe(0);
    } finally {
      await b.plane.following.start(b.plane.store);
    }
    // It hears of it now, and ends the connection.
    expect(await deaf.end()).toMatchObject({ details: expect.stringContaining('evicted') });
    await expect(b.plane.agents.forget(WHO, id)).resolves.toBeUndefined();
  });

  test('prepare one authority, where both are told to at once; the other key is gone', async () => {
    const done = await Promise.allSettled(
      [a, b].map(({ plane }) => plane.authorities.prepare(WHO, 'second')),
    );
    const again = await Promise.allSettled(
      [a, b].map(({ plane }) => plane.authorities.prepare(WHO, 'second')),
    );
    const fulfilled = [...done, ...again].filter(({ status }) => status === 'fulfilled');
    // The first of a name signs at once; the next one is prepared, and then there is no room for another.
    expect(fulfilled).toHaveLength(2);
    for (const each of [...done, ...again])
      if (each.status === 'rejected') expect(each.reason).toMatchObject({ code: 'conflict' });
    await Promise.all(
      [a, b].map((plane) => plane.until('slots', () => plane.plane.authorities.slots.length === 3)),
    );
    const named = a.plane.authorities.slots.flatMap(({ id, jwt }) => [id, ...(jwt ? [jwt.keyId] : [])]);
    expect((await b.plane.keys.vault.list()).toSorted()).toEqual(named.toSorted());
  });

  test('start a cutover once, where both are told to at once, and both have it', async () => {
    const orders = [0.1, 0.2].map((share) => ({ id: 'move', from: 'default', to: 'second', share }));
    const done = await Promise.allSettled(
      [a, b].map(({ plane }, i) =>
        plane.cutovers.start(WHO, orders[i] ?? { id: '', from: '', to: '', share: 0 }),
      ),
    );
    expect(done.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const won = done[0]?.status === 'fulfilled' ? 0.1 : 0.2;
    const shares = ({ plane }: SharedPlane) => plane.cutovers.list().map(({ share }) => share);
    await until(() => shares(a)[0] === won && shares(b)[0] === won);
  });

  test('have the same peers, whichever of them is told', async () => {
    const peer = {
      trustDomain: 'peer.example',
      endpointUrl: 'https://127.0.0.1:1/bundle',
      profile: { name: 'https_web' },
    } as const;
    const names = ({ serving }: SharedPlane) =>
      serving.api.federation.status().map((each) => each.trustDomain);
    const other = a.isLeader ? b : a;
    await other.serving.api.federation.put(WHO, peer);
    for (const plane of [a, b]) await until(() => names(plane).includes('peer.example'));
    await other.serving.api.federation.remove(WHO, 'peer.example');
    for (const plane of [a, b]) await until(() => names(plane).length === 0);
    expect([a, b].map((plane) => plane.serving.api.federation.has('peer.example'))).toEqual([false, false]);
  });

  test('know a session of the other one at its first call, and that it was ended there', async () => {
    const parts = ({ plane, timers }: SharedPlane) => ({
      store: plane.store,
      recorder: plane.recorder,
      timers,
      onFault: console.error,
      isShared: true,
    });
    const [atA, atB] = [await Sessions.open(parts(a)), await Sessions.open(parts(b))];
    try {
      const { secret } = await atA.create({ who: 'ann', roles: ['viewer'], by: 'test' });
      const caller = await atB.meet(secret);
      expect(caller?.who).toBe('ann');
      expect(await atB.meet(newSecret())).toBeUndefined();
      await atB.end('ann', caller?.session ?? '');
      const ended = (await atA.meet(secret))?.ended;
      if (ended?.aborted === false)
        await new Promise((resolve) => ended.addEventListener('abort', resolve, { once: true }));
      expect(await atA.meet(secret)).toBeUndefined();
    } finally {
      await Promise.all([atA.close(), atB.close()]);
    }
  });

  test('live by the clock of the database, whatever that of their machine says', async () => {
    const wrong = { ...realTimers, now: () => Date.now() + HOUR };
    const said: string[] = [];
    const clock = await databaseClock(b.place, wrong, (message) => said.push(message));
    try {
      expect(said).toEqual([expect.stringContaining('3600 s ahead')]);
      expect(Math.abs(clock.timers.now() - Date.now())).toBeLessThan(30_000);
      const third = await SharedPlane.start({ url, keyFile, timers: clock.timers });
      try {
        const at = connected(await third.agent('third'), third);
        await at.states();
        const [leaf = Buffer.alloc(0)] = (await at.sign(7)).chain;
        const { notBefore, notAfter } = parseCertificate(leaf);
        expect(notBefore).toBeLessThanOrEqual(Date.now());
        expect(notAfter).toBeLessThan(Date.now() + 1.5 * HOUR);
      } finally {
        for (const each of open) each.close();
        await third.close();
      }
    } finally {
      clock.stop();
    }
  });

  test('hand the lead over where the connection of the one that leads is ended', async () => {
    await Promise.race([a.leads(), b.leads()]);
    const [leader, other] = a.isLeader ? [a, b] : [b, a];
    const db = await databaseOf(url);
    const lock = lockOf(new URL(url).searchParams.get('schema') ?? '', 'lead');
    const lost = new Promise<void>((resolve) => {
      const stop = leader.plane.leadership.onChange(() => {
        stop();
        resolve();
      });
    });
    await db.query(
      `select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and granted
         and (classid::bigint << 32 | objid::bigint) = $1::bigint`,
      [lock],
    );
    await db.end();
    await lost;
    await Promise.race([leader.leads(), other.leads()]);
    expect([a, b].filter(({ isLeader }) => isLeader)).toHaveLength(1);
  });
});

describe.skipIf(!hasPostgres)('a new authority', () => {
  test('signs at both once the agents of both have confirmed it, and what one was doing the other completes', async () => {
    const url = await newPostgresUrl();
    const keyFile = newKeyFile();
    const timers = new MovedTimers();
    const a = await SharedPlane.start({ url, keyFile, timers });
    const b = await SharedPlane.start({ url, keyFile, timers });
    try {
      await a.apply(UID_RULE);
      const first = a.activeAuthority();
      const atA = connected(await a.agent('at-a'), a);
      const atB = connected(await a.agent('at-b'), b);
      await Promise.all([atA.states(), atB.states()]);
      const next = await b.plane.authorities.rotate(WHO);
      const published = BigInt(next.publishedIn);
      const versions = (bundles: bigint) => ({ bundles, rules: 1n, revocations: 1n });
      for (const at of [atA, atB]) await at.next('bundles', ({ version }) => version >= published);
      // All had time to connect; now it is up to the agents.
      timers.ahead += 2 * 60_000;
      atA.confirm(versions(published));
      const knows = (plane: SharedPlane, oldest: bigint) =>
        until(() => plane.plane.confirmations().oldest === Number(oldest));
      // The agent at B has confirmed nothing: both know it.
      await Promise.all([knows(a, 0n), knows(b, 0n)]);
      await Promise.all([a, b].map(({ serving }) => serving.api.lifecycle.look()));
      expect([a, b].map((plane) => plane.activeAuthority())).toEqual([first, first]);
      // The one that leads goes; its agent comes to the other one and brings what it has.
      const [leader, other] = a.isLeader ? [a, b] : [b, a];
      const [left, stays] = leader === a ? [atA, atB] : [atB, atA];
      left.close();
      await leader.close();
      await other.leads();
      stays.confirm(versions(published));
      // Those of the one that is gone have a minute to come back.
      await knows(other, published);
      await other.serving.api.lifecycle.look();
      expect(other.activeAuthority()).toBe(first);
      timers.ahead += 2 * 60_000;
      await other.serving.api.lifecycle.look();
      expect(other.activeAuthority()).toBe(next.id);
      expect((await stays.sign(7)).authority).toBe(next.id);
      expect(other.faults).toEqual([]);
    } finally {
      await Promise.all([a.close(), b.close()]);
    }
  }, 60_000);
});

describe.skipIf(!hasPostgres)('a database that is away', () => {
  test('keeps nobody from what is known, issues nothing, and is caught up with when it is back', async () => {
    const database = await startServer();
    const url = database.url();
    const keyFile = newKeyFile();
    const a = await SharedPlane.start({ url, keyFile });
    const b = await SharedPlane.start({ url, keyFile });
    try {
      await a.apply(UID_RULE);
      const at = connected(await b.agent('stays'), b);
      const { rules } = await at.states();
      await Promise.race([a.leads(), b.leads()]);
      const leader = a.isLeader ? a : b;
      const deposed = new Promise<void>((resolve) => {
        leader.plane.leadership.onChange((isLeader) => {
          if (!isLeader) resolve();
        });
      });
      await database.kill('SIGQUIT');
      // Who leads knows that by the database alone.
      await deposed;
      await expect(at.sign(7)).rejects.toMatchObject({ code: 'unavailable' });
      await expect(a.apply(ruleFor('lost', '/lost'))).rejects.toMatchObject({ code: 'unavailable' });
      expect(at.ended).toBeUndefined();
      await database.start();
      await Promise.race([a.leads(), b.leads()]);
      await a.apply(ruleFor('found', '/found'));
      const told = await at.next('rules', ({ version }) => version > rules.version);
      expect(Number(told.version)).toBeGreaterThan(Number(rules.version));
      const known = (plane: SharedPlane) =>
        ['lost', 'found'].map((name) => plane.plane.registry.rules.current.value.get(name) !== undefined);
      await b.until('rules', () => known(b)[1] === true);
      // What was given up was made or was not: both have the same.
      expect(known(a)).toEqual(known(b));
      expect(
        (await at.sign(7, { rule: 'found', spiffeId: 'spiffe://example.org/found' })).chain,
      ).toHaveLength(1);
      expect(at.ended).toBeUndefined();
    } finally {
      await Promise.all([a.close(), b.close()]);
      await database.stop();
    }
  }, 120_000);
});
