import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { keyIdOf, parseCertificate } from '../../src/identity/index.ts';
import { chainOf } from '../../src/server/identity/certified-chain.ts';
import { childRule } from '../../src/server/identity/child-planes.test-helper.ts';
import { signOffline } from '../../src/server/identity/offline-root.ts';
import { makeRequest } from '../../src/server/identity/requests.ts';
import { HOUR, UID_RULE, WHO } from '../../src/server/testing.test-helper.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { MovedTimers, newKeyFile, SharedPlane, until } from './planes.test-helper.ts';
import { identityAt } from './proxies.test-helper.ts';

const MINUTE = 60_000;
const undo: (() => unknown)[] = [];
afterAll(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
}, 60_000);

async function started(...given: Parameters<typeof SharedPlane.start>): Promise<SharedPlane> {
  const plane = await SharedPlane.start(...given);
  undo.push(() => plane.close());
  return plane;
}

const slotsOf = ({ plane }: SharedPlane, name: string) =>
  plane.authorities.slots.filter((slot) => slot.name === name);
const idsOf = (plane: SharedPlane, name: string) =>
  slotsOf(plane, name)
    .map(({ id }) => id)
    .toSorted();
const activeOf = (plane: SharedPlane, name: string) =>
  slotsOf(plane, name).find(({ state }) => state === 'active')?.id;
const audited = async ({ plane }: SharedPlane, act: string) =>
  (await plane.store.audit(1, 10_000)).filter((entry) => entry.act === act).length;

/** The authority that signs what an agent asks of a control plane, by the key ID in the certificate itself. */
async function signedAt(plane: SharedPlane): Promise<string | undefined> {
  const { chain } = await identityAt(plane, 7);
  const [leaf] = chain.map((der) => parseCertificate(der));
  const [issued] = await plane.plane.store.issued({ serial: leaf?.serial ?? '', limit: 1 });
  return issued?.authority;
}

describe.skipIf(!hasPostgres)('two control planes of one database', () => {
  test('join an authority abroad once, renew it once when it is due, and both sign by it', async () => {
    const keyFile = newKeyFile();
    // TLS looks at the machine's clock: what is issued now is valid then, and past half of its life.
    const timers = new MovedTimers();
    timers.ahead = -35 * MINUTE;
    const abroad = await started({ url: await newPostgresUrl(), keyFile, timers });
    await abroad.apply(childRule('here', '{ prefixes: [/uid/] }', '', 'ttl: 1h'));
    const url = await newPostgresUrl();
    const start = () => started({ url, keyFile, timers });
    const [a, b] = await Promise.all([start(), start()]);
    const [one, other] = a.isLeader ? [b, a] : [a, b];
    // At one that does not lead.
    const joinToken = await abroad.token('here');
    const order = { name: 'region-b', address: `127.0.0.1:${abroad.server.port}`, joinToken };
    const slot = await one.serving.api.joined.join(WHO, order);
    await other.until('slots', () => activeOf(other, 'region-b') === slot.id);
    await a.apply(UID_RULE.replace('ttl: 1h', 'ttl: 10m, authority: region-b'));
    await b.until('rules', () => b.plane.registry.rules.current.value.rules.length === 1);
    expect([await signedAt(a), await signedAt(b)]).toEqual([slot.id, slot.id]);
    const issued = async () =>
      (await abroad.plane.store.issued({ kind: 'authority', limit: 100 })).filter(
        ({ agent }) => agent !== '',
      );
    expect(await issued()).toHaveLength(1);

    timers.ahead = 0;
    const look = () => Promise.all([a, b].map(({ serving }) => serving.api.lifecycle.look()));
    await look();
    await until(() => [a, b].every((plane) => slotsOf(plane, 'region-b').length === 2));
    // However often it is looked at, wherever.
    await look();
    await look();
    expect(await issued()).toHaveLength(2);
    expect(idsOf(a, 'region-b')).toEqual(idsOf(b, 'region-b'));
    const next = slotsOf(a, 'region-b').find(({ id }) => id !== slot.id)?.id ?? '';
    await one.plane.authorities.activate(WHO, next, true);
    await other.until('slots', () => activeOf(other, 'region-b') === next);
    expect([await signedAt(a), await signedAt(b)]).toEqual([next, next]);
    // And after the one that was connected is gone.
    const [leader, rest] = a.isLeader ? [a, b] : [b, a];
    await leader.close();
    await rest.leads();
    const third = await rest.plane.authorities.prepare(WHO, 'region-b');
    expect(idsOf(rest, 'region-b')).toContain(third.id);
    expect(await issued()).toHaveLength(3);
    expect(rest.faults).toEqual([]);
  }, 120_000);

  test('exchange requests and certificates with an offline root, asked at one and imported at the other', async () => {
    const media = mkdtempSync(join(tmpdir(), 'interlock-offline-'));
    undo.push(() => rmSync(media, { recursive: true, force: true }));
    const offlineRoot = join(media, 'root');
    const keyFile = newKeyFile();
    const url = await newPostgresUrl();
    const start = () => started({ url, keyFile, offlineRoot });
    // At once: one of them makes the root, and the other finds it done.
    const [a, b] = await Promise.all([start(), start()]);
    const first = activeOf(a, 'default');
    expect(first).toBeDefined();
    expect(activeOf(b, 'default')).toBe(first);
    await a.apply(UID_RULE);
    await b.until('rules', () => b.plane.registry.rules.current.value.rules.length === 1);

    const before = new Map<string, number>();
    for (const act of ['authority.request', 'authority.import']) before.set(act, await audited(a, act));
    const request = await makeRequest(WHO, a.plane);
    const csr = Buffer.from(request.pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
    const signed = chainOf(await signOffline(offlineRoot, { csr, ttl: 48 * HOUR, now: Date.now() }));
    // Somebody imports it twice, at both.
    const imported = await Promise.allSettled([
      b.plane.authorities.adopt(WHO, request.keyId, signed),
      a.plane.authorities.adopt(WHO, request.keyId, signed),
    ]);
    expect(imported.some(({ status }) => status === 'fulfilled')).toBe(true);
    for (const plane of [a, b]) await plane.until('slots', () => slotsOf(plane, 'default').length === 2);
    expect(idsOf(a, 'default')).toEqual(idsOf(b, 'default'));
    const next = idsOf(a, 'default').find((id) => id !== first) ?? '';
    expect(next).toBe(request.keyId);
    await a.plane.authorities.activate(WHO, next, true);
    await b.until('slots', () => activeOf(b, 'default') === next);
    expect([await signedAt(a), await signedAt(b)]).toEqual([next, next]);
    for (const act of ['authority.request', 'authority.import'])
      expect(await audited(b, act)).toBe((before.get(act) ?? 0) + 1);
    // The root's key is nowhere in the database.
    expect(await a.plane.keys.vault.has(keyIdOf(signed.root.spki))).toBe(false);
    expect(await a.plane.keys.vault.has(next)).toBe(true);
  }, 120_000);
});
