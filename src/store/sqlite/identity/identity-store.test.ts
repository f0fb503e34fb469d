import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { describeIdentityStore, svidOf } from '../../identity-contract.test-helper.ts';
import { openIdentityStore } from './identity-store.ts';
import { IDENTITY_FILE } from './open.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-identity-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let made = 0;
const newDir = () => join(root, String(++made));

describeIdentityStore('the SQLite identity store', async () => {
  const dir = newDir();
  return { store: await openIdentityStore(dir, { create: true }), reopen: () => openIdentityStore(dir) };
});

const entry = (what: string) => ({ at: 1, who: 'system', act: 'test', what, details: null });

/** A log of five entries, changed behind the store's back. */
async function tampered(sql: string): Promise<unknown> {
  const dir = newDir();
  const store = await openIdentityStore(dir, { create: true });
  for (const what of ['a', 'b', 'c', 'd', 'e']) await store.commit([], entry(what));
  await store.close();
  const db = new DatabaseSync(join(dir, IDENTITY_FILE));
  db.exec(sql);
  db.close();
  const later = await openIdentityStore(dir);
  const fault = await later.verifyAudit();
  await later.close();
  return fault;
}

const WITHOUT_TRIGGERS = 'DROP TRIGGER audit_unchanged; DROP TRIGGER audit_undeleted;';

describe('the audit log', () => {
  test('refuses UPDATE and DELETE', async () => {
    await expect(tampered("UPDATE audit SET who = 'me'")).rejects.toThrow('append-only');
    await expect(tampered('DELETE FROM audit')).rejects.toThrow('append-only');
  });

  test('shows the first entry that was changed, taken out or cut off', async () => {
    const cases: [string, unknown][] = [
      ["UPDATE audit SET details = '{}' WHERE seq = 3", { seq: 3, reason: 'changed' }],
      ["UPDATE audit SET details = '{' WHERE seq = 2", { seq: 2, reason: 'unreadable' }],
      ['UPDATE audit SET at = 2 WHERE seq = 5', { seq: 5, reason: 'changed' }],
      ['DELETE FROM audit WHERE seq = 1', { seq: 1, reason: 'missing' }],
      ['DELETE FROM audit WHERE seq = 4', { seq: 4, reason: 'missing' }],
      ['DELETE FROM audit WHERE seq > 3', { seq: 4, reason: 'missing' }],
      ['DELETE FROM audit', { seq: 1, reason: 'missing' }],
    ];
    for (const [sql, fault] of cases)
      expect(await tampered(`${WITHOUT_TRIGGERS} ${sql}`), sql).toEqual(fault);
  });
});

describe('the identity database', () => {
  test('is for its owner alone', async () => {
    const dir = newDir();
    await (await openIdentityStore(dir, { create: true })).close();
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(statSync(join(dir, IDENTITY_FILE)).mode & 0o777).toBe(0o600);
  });

  test('that is not there is named with what to do', async () => {
    await expect(openIdentityStore(newDir())).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('authority init'),
    });
  });

  test('is held by one process at a time, and free again when that is killed', async () => {
    const dir = newDir();
    const holder = `
      const { openIdentityStore } = await import(${JSON.stringify(fileURLToPath(new URL('./identity-store.ts', import.meta.url)))});
      const store = await openIdentityStore(process.argv[1], { create: true });
      await store.commit([], { at: 1, who: 'x', act: 'x', what: 'x', details: null });
      console.log('held');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', holder, dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    const [said] = await Promise.race([once(child.stdout, 'data'), closed]);
    expect(String(said)).toContain('held');
    await expect(openIdentityStore(dir, { lockWait: 1 })).rejects.toMatchObject({
      code: 'state',
      message: expect.stringContaining('held by another process'),
    });
    child.kill('SIGKILL');
    await closed;
    const store = await openIdentityStore(dir);
    expect(await store.audit(1, 10)).toHaveLength(1);
    await store.close();
  });

  test('that is not ours, or newer, is refused', async () => {
    const foreign = newDir();
    mkdirSync(foreign);
    writeFileSync(
      join(foreign, IDENTITY_FILE),
      'not a database, but long enough to be taken for one'.repeat(40),
    );
    await expect(openIdentityStore(foreign)).rejects.toMatchObject({ code: 'state' });
    const newer = newDir();
    await (await openIdentityStore(newer, { create: true })).close();
    const db = new DatabaseSync(join(newer, IDENTITY_FILE));
    db.exec('PRAGMA user_version = 99');
    db.close();
    await expect(openIdentityStore(newer)).rejects.toMatchObject({
      code: 'state',
      message: expect.stringContaining('newer interlock'),
    });
  });

  test('on a full disk records nothing of what fails, says so, and goes on', async () => {
    const dir = newDir();
    const store = await openIdentityStore(dir, { create: true, maxPages: 64 });
    await store.commit([{ change: 'issue', svid: svidOf('01') }], entry('small'));
    const many = Array.from({ length: 3000 }, (_, i) => ({
      change: 'issue' as const,
      svid: svidOf(`ff${i.toString(16).padStart(6, '0')}`),
    }));
    await expect(store.commit(many, entry('big'))).rejects.toMatchObject({
      code: 'io',
      message: expect.stringContaining('nothing was issued'),
    });
    expect(await store.issued({})).toHaveLength(1);
    await store.commit([{ change: 'issue', svid: svidOf('02') }], entry('after'));
    expect((await store.audit(1, 9)).map(({ what }) => what)).toEqual(['small', 'after']);
    expect(await store.verifyAudit()).toBeUndefined();
    await store.close();
  });
});
