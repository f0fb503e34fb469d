import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type AgentAttributes,
  CertificateError,
  createRequest,
  generateKey,
  parseCertificate,
  SETTLE_MS,
  verifyX509Svid,
  writeWorkloadAttributes,
} from '../../identity/index.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import { parseSpiffeId } from '../../access/index.ts';
import { HOUR, TestPlane, UID_RULE, WHO } from '../testing.test-helper.ts';
import { openControlPlane } from './control-plane.ts';
import { Lifecycle } from './lifecycle.ts';
import { STORE_WAIT_MS } from '../in-time.ts';

let planes: TestPlane[] = [];
async function planeOf(...args: Parameters<typeof TestPlane.make>): Promise<TestPlane> {
  const plane = await TestPlane.make(...args);
  planes.push(plane);
  return plane;
}
afterEach(async () => {
  for (const plane of planes) await plane.remove();
  planes = [];
});

const agent: AgentAttributes = {
  agent: { id: parseSpiffeId('spiffe://example.org/interlock/agent/join_token/n1'), attestor: 'join_token' },
  selectors: [],
  claims: {},
};

/** Asks for an SVID of a uid as an agent does. */
function sign({ plane }: TestPlane, uid: number, replaces?: string) {
  const attributes = writeWorkloadAttributes({ unix: { uid, gid: uid, groups: [] } });
  const request = { spiffeId: `spiffe://example.org/uid/${uid}`, rule: 'by-uid', attributes };
  return plane.issuing.workload(agent, request, createRequest(generateKey('ec-p256')), replaces);
}

/** What a verifier that has everything says of a chain: "ok", or the fault. */
function verdict({ plane, timers }: TestPlane, chain: readonly Buffer[]): string {
  const { crls } = plane.registry.revocations.current.value;
  try {
    // Without the list of revoked IDs: what a client knows that has only the CRLs.
    verifyX509Svid(chain, {
      bundles: plane.registry.bundles.current.value.bundles,
      now: timers.now(),
      crls: [...crls.values()],
    });
    return 'ok';
  } catch (error) {
    return error instanceof CertificateError ? error.fault : String(error);
  }
}

describe('a control plane that is opened again', () => {
  test('has its authority, rules, revocations and versions, and signs', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    const { chain } = await sign(test, 1);
    await test.plane.revoking.revokeId(WHO, parseSpiffeId('spiffe://example.org/uid/2'), 'lost');
    const before = ['rules', 'bundles', 'revocations'].map((name) => versionOf(test, name));
    await test.close();
    await test.open();
    expect(['rules', 'bundles', 'revocations'].map((name) => versionOf(test, name))).toEqual(before);
    expect(verdict(test, chain)).toBe('ok');
    expect(verdict(test, (await sign(test, 3)).chain)).toBe('ok');
    await expect(sign(test, 2)).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('revoked'),
    });
    expect(await test.plane.store.verifyAudit()).toBeUndefined();
  });

  const versionOf = ({ plane }: TestPlane, name: string) =>
    plane.registry[name as 'rules' | 'bundles' | 'revocations'].current.version;

  test('without its key says so, and with a key that others may read it refuses', async () => {
    const test = await planeOf();
    const [slot] = test.plane.authorities.slots;
    await test.plane.keys.vault.remove(slot?.id ?? '');
    await test.close();
    await test.open();
    await test.apply(UID_RULE);
    await expect(sign(test, 1)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('revocation of an identity', () => {
  test('puts every valid certificate of it on the CRL, also replaced ones, and of no other', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    const first = await sign(test, 1);
    const second = await sign(test, 1, first.serial);
    const other = await sign(test, 2);
    const id = parseSpiffeId('spiffe://example.org/uid/1');
    expect(await test.plane.revoking.revokeId(WHO, id, 'keyCompromise')).toBe(2);
    expect([first, second, other].map(({ chain }) => verdict(test, chain))).toEqual([
      'revoked',
      'revoked',
      'ok',
    ]);
    await expect(sign(test, 1)).rejects.toMatchObject({ code: 'forbidden' });
    await test.plane.revoking.allow(WHO, id);
    expect(verdict(test, (await sign(test, 1)).chain)).toBe('ok');
    expect(verdict(test, second.chain)).toBe('revoked');
  });

  test('of what is being signed meanwhile lets nothing out that is not revoked', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    const id = parseSpiffeId('spiffe://example.org/uid/1');
    const signing = Array.from({ length: 30 }, () => sign(test, 1));
    const [, ...done] = await Promise.allSettled([test.plane.revoking.revokeId(WHO, id, 'x'), ...signing]);
    const left = done.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(left.map(({ chain }) => verdict(test, chain)).filter((fault) => fault !== 'revoked')).toEqual([]);
  });

  test('by serial revokes that one certificate', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    const [first, second] = [await sign(test, 1), await sign(test, 1)];
    await test.plane.revoking.revokeSerial(WHO, first.serial, 'lost');
    expect([first, second].map(({ chain }) => verdict(test, chain))).toEqual(['revoked', 'ok']);
    await expect(test.plane.revoking.revokeSerial(WHO, first.serial, 'again')).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('was revoked before'),
    });
    await expect(test.plane.revoking.revokeSerial(WHO, 'abcdef', 'lost')).rejects.toMatchObject({
      code: 'not_found',
      message: 'no certificate with this serial number is known: abcdef; nothing was revoked',
    });
  });

  test('that a crash cut in two is finished at the next start', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    const { chain } = await sign(test, 1);
    const { registry, recorder } = test.plane;
    const revocation = {
      what: 'id',
      value: 'spiffe://example.org/uid/1',
      authority: '',
      reason: 'x',
      at: 1,
    } as const;
    await registry.step(async () => ({
      step: {
        revocations: { list: [revocation], crls: new Map() },
        changes: [{ change: 'revoke', revocation }],
      },
      entry: recorder.entry(WHO, 'identity.revoke', revocation.value),
    }));
    await test.close();
    await test.open();
    expect(verdict(test, chain)).toBe('ok');
    await test.plane.revoking.renew([]);
    expect(verdict(test, chain)).toBe('revoked');
  });
});

describe('a store that does not answer', () => {
  test('makes callers come back later, lets nothing out, and is no harm once it answers', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    await test.close();
    const real = await openIdentityStore(test.dir);
    const held = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    let hangs = false;
    const slow: IdentityStore = Object.assign(Object.create(real) as IdentityStore, {
      commit: async (...args: Parameters<IdentityStore['commit']>) => {
        if (hangs) {
          reached.resolve();
          await held.promise;
        }
        return real.commit(...args);
      },
      close: () => real.close(),
    });
    await test.open({ store: slow });
    hangs = true;
    const asked = sign(test, 1).catch((error: unknown) => error);
    await reached.promise;
    await test.timers.advance(STORE_WAIT_MS);
    expect(await asked).toMatchObject({ code: 'unavailable' });
    hangs = false;
    held.resolve();
    expect(verdict(test, (await sign(test, 1)).chain)).toBe('ok');
  });
});

describe('an authority', () => {
  const lifecycleOf = (test: TestPlane, warnings: string[] = []) =>
    new Lifecycle({
      plane: test.plane,
      timers: test.timers,
      onWarning: (message) => warnings.push(message),
      onFault: (error) => {
        throw error;
      },
    });

  test('takes over without an agent that never confirms, which is recorded and told to attest anew', async () => {
    const test = await planeOf({ authorityTtl: 60 * HOUR });
    const silent = 'spiffe://example.org/interlock/agent/join_token/n1';
    const told: string[] = [];
    test.plane.link = {
      ...test.plane.link,
      oldestBundles: () => 1,
      behind: (version) => (version > 1 ? [silent] : []),
      disconnect: (id, { code, message }) => told.push(`${code} ${id}: ${message}`),
    };
    const warnings: string[] = [];
    const after = async (hours: number) => {
      await test.timers.advance(hours * HOUR);
      const lifecycle = lifecycleOf(test, warnings);
      await lifecycle.look();
      await lifecycle.stop();
      return test.plane.authorities.slots.map(({ state }) => state);
    };
    expect(await after(31)).toEqual(['active', 'prepared']);
    expect(await after(23)).toEqual(['active', 'prepared']);
    expect(warnings.at(-1)).toContain(`1 agent has not confirmed`);
    expect(told).toEqual([]);
    expect(await after(1.1)).toEqual(['old', 'active']);
    const [, { id } = { id: '' }] = test.plane.authorities.slots;
    expect(told).toEqual([
      `untrusted ${silent}: ${silent} has not confirmed authority ${id} in time: attest it anew`,
    ]);
    expect(warnings.at(-1)).toContain('they were told to attest anew');
    const entries = await test.plane.store.audit(1, 100);
    expect(entries.find(({ act }) => act === 'authority.activate')).toMatchObject({
      who: 'system',
      details: { force: true, without: [silent] },
    });
  });

  test('gives way at its time: prepared at half of its life, replaced with a sixth left, forgotten at its end', async () => {
    const test = await planeOf({ authorityTtl: 60 * HOUR });
    await test.apply(UID_RULE);
    const states = () => test.plane.authorities.slots.map(({ state }) => state);
    const after = async (hours: number) => {
      await test.timers.advance(hours * HOUR);
      const lifecycle = lifecycleOf(test);
      await lifecycle.look();
      await lifecycle.stop();
      return states();
    };
    const { chain } = await sign(test, 1);
    expect(await after(29)).toEqual(['active']);
    expect(await after(2)).toEqual(['active', 'prepared']);
    expect(await after(18)).toEqual(['active', 'prepared']);
    expect(verdict(test, chain)).toBe('expired');
    const late = await sign(test, 2);
    expect(await after(1.5)).toEqual(['old', 'active']);
    expect(verdict(test, (await sign(test, 1)).chain)).toBe('ok');
    expect(parseCertificate(late.chain[0] ?? Buffer.alloc(0)).notAfter).toBeLessThan(test.timers.now());
    expect(await after(1)).toEqual(['active']);
    expect(await test.plane.keys.vault.list()).toHaveLength(2);
  });

  test('does not sign before every connected agent has confirmed its root', async () => {
    const test = await planeOf();
    await test.serve();
    const connection = (await test.agent('n1')).connect();
    const { bundles } = await connection.states();
    const next = await test.plane.authorities.prepare(WHO);
    await test.timers.advance(SETTLE_MS);
    await expect(test.plane.authorities.activate(WHO, next.id)).rejects.toMatchObject({ code: 'conflict' });
    const later = await connection.next('bundles');
    expect(later.version).toBeGreaterThan(bundles.version);
    connection.confirm({ bundles: later.version, rules: 0n, revocations: 0n });
    await connection.sign(1).catch(() => undefined);
    expect((await test.plane.authorities.activate(WHO, next.id)).state).toBe('active');
    connection.close();
  });

  test('that is tainted tells agents to replace its SVIDs, counts what is left, and can then be revoked', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    await test.serve();
    const connection = (await test.agent('n1')).connect();
    await connection.states();
    const first = await connection.sign(1);
    const old = test.plane.authorities.slot(first.authority);
    await expect(test.plane.authorities.revoke(WHO, old.id)).rejects.toMatchObject({ code: 'conflict' });
    const next = await test.plane.authorities.prepare(WHO);
    await test.plane.authorities.activate(WHO, next.id, true);
    await test.plane.authorities.taint(WHO, old.id, 60_000);
    expect(await connection.next('replace')).toMatchObject({ authority: old.id, overMs: 60_000 });
    const left = async () =>
      (await test.plane.store.liveCounts(test.timers.now())).find(
        ({ authority, kind }) => authority === old.id && kind === 'workload',
      )?.count ?? 0;
    expect(await left()).toBe(1);
    await expect(test.plane.authorities.revoke(WHO, old.id)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(
        /^\d SVIDs of \w+ are live \(1 agent, (1 server, )?1 workload\).* wait until .* or revoke it with --force$/,
      ),
    });
    const serial = parseCertificate(first.chain[0] ?? Buffer.alloc(0)).serial;
    const second = await connection.sign(1, { replaces: serial });
    expect(second.authority).toBe(next.id);
    expect(await left()).toBe(0);
    expect(verdict(test, first.chain)).toBe('ok');
    // The agent's own SVID is of the old one still: forced, it is in force whatever is left.
    await test.plane.authorities.revoke(WHO, old.id, true);
    expect(verdict(test, first.chain)).toBe('unknown_authority');
    expect(verdict(test, second.chain)).toBe('ok');
    connection.close();
  });

  test('of which something is live is revoked by force alone, and tainted by that; the one that signs never', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    const { chain, authority } = await sign(test, 1);
    const { authorities, store } = test.plane;
    const revoke = (force?: boolean) => authorities.revoke(WHO, authority, force);
    await expect(revoke(true)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('is the authority that signs'),
    });
    const next = await authorities.prepare(WHO);
    await authorities.activate(WHO, next.id, true);
    await expect(revoke()).rejects.toMatchObject({
      code: 'conflict',
      message: `1 SVID of ${authority} is live (1 workload) and would be refused at once: taint it first, so that they are replaced, or revoke it with --force`,
    });
    expect(verdict(test, chain)).toBe('ok');
    expect(await revoke(true)).toMatchObject({ taintedAt: test.timers.now(), revokedAt: test.timers.now() });
    expect(verdict(test, chain)).toBe('unknown_authority');
    const entries = await store.audit(1, 100);
    expect(entries.at(-1)).toMatchObject({ act: 'authority.revoke', details: { force: true } });
  });

  test('that was tainted is revoked without force once nothing of it is live', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    const { serial, authority } = await sign(test, 1);
    const { authorities } = test.plane;
    await authorities.activate(WHO, (await authorities.prepare(WHO)).id, true);
    await authorities.taint(WHO, authority, 0);
    await sign(test, 1, serial);
    expect((await authorities.revoke(WHO, authority)).revokedAt).toBe(test.timers.now());
  });
});

describe('a control plane that is killed while it issues', () => {
  test('has recorded everything that it gave out', async () => {
    const test = await planeOf();
    await test.apply(UID_RULE);
    await test.close();
    const file = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
    const issuer = `
      const { openControlPlane } = await import(${file('./control-plane.ts')});
      const { realTimers } = await import(${file('../timers.ts')});
      const { createRequest, generateKey, writeWorkloadAttributes } = await import(${file('../../identity/index.ts')});
      const { writeSync } = await import('node:fs');
      const plane = await openControlPlane({ state: process.argv[1], timers: realTimers });
      const agent = ${JSON.stringify(agent)};
      const csr = createRequest(generateKey('ec-p256'));
      for (let uid = 0; ; uid++) {
        const attributes = writeWorkloadAttributes({ unix: { uid, gid: uid, groups: [] } });
        const batch = Array.from({ length: 20 }, () =>
          plane.issuing.workload(agent, { spiffeId: 'spiffe://example.org/uid/' + uid, rule: 'by-uid', attributes }, csr));
        for (const { serial } of await Promise.all(batch)) writeSync(1, serial + '\\n');
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', issuer, test.dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += String(chunk);
      if (said.length > 3000) child.kill('SIGKILL');
    });
    await closed;
    const out = said.split('\n').filter((line) => line.length === 32);
    expect(out.length).toBeGreaterThan(80);
    const plane = await openControlPlane({ state: test.dir, timers: test.timers });
    const recorded = new Set(
      (await plane.store.issued({ kind: 'workload', limit: 10_000 })).map(({ serial }) => serial),
    );
    expect(out.filter((serial) => !recorded.has(serial))).toEqual([]);
    expect(await plane.store.verifyAudit()).toBeUndefined();
    await plane.close();
  });
});
