import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { commitsOf } from '../../identity-contract.test-helper.ts';
import { openIdentityStore } from './identity-store.ts';
import { IDENTITY_FILE } from './open.ts';
import { IDENTITY_SCHEMA_VERSION } from './schema.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-identity-migrate-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let made = 0;

/** An identity database that the program of version 1 wrote. */
function oldState(): string {
  const dir = join(root, String(++made));
  mkdirSync(dir);
  const packed = readFileSync(new URL('../fixtures/identity-version-1.db.gz', import.meta.url));
  writeFileSync(join(dir, IDENTITY_FILE), gunzipSync(packed));
  return dir;
}

function look(dir: string, sql: string): unknown[] {
  const db = new DatabaseSync(join(dir, IDENTITY_FILE));
  const rows = db.prepare(sql).all();
  db.close();
  return rows;
}
const versionOf = (dir: string) => look(dir, 'PRAGMA user_version');

const schemaModule = JSON.stringify(fileURLToPath(new URL('./schema.ts', import.meta.url)));
/** Takes the step to version 2 as far as before its commit, says so, and waits for ever. */
const DIES_WHILE_MIGRATING = `
  import { writeSync } from 'node:fs';
  import { DatabaseSync } from 'node:sqlite';
  import { IDENTITY_MIGRATIONS } from ${schemaModule};
  const db = new DatabaseSync(process.argv[1]);
  db.exec('PRAGMA journal_mode = WAL; PRAGMA cache_spill = 1; PRAGMA cache_size = 1; BEGIN IMMEDIATE;' + IDENTITY_MIGRATIONS.get(1) + 'PRAGMA user_version = 2');
  writeSync(1, 'half-way');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
`;

const NOW = Date.UTC(2026, 10, 21);

describe('an identity database of version 1', () => {
  test('keeps everything it held; its documents are at their first version', async () => {
    const dir = oldState();
    const store = await openIdentityStore(dir);
    expect(await store.documents('rule')).toEqual([
      { name: '__proto__', version: 1, data: [null, 'ä'] },
      { name: 'a', version: 1, data: { v: 2 } },
    ]);
    expect((await store.issued({ liveAt: NOW })).map(({ serial }) => serial)).toEqual(['02']);
    expect(await store.agents()).toMatchObject([{ attributes: { zone: 'a' }, banned: true }]);
    expect((await store.joinTokens()).map(({ hash }) => hash)).toEqual(['f00']);
    expect((await store.revocations()).map(({ value }) => value)).toEqual(['x']);
    expect(await store.useToken('h', NOW + 1, NOW)).toBe(false);
    expect((await store.audit(1, 9)).map(({ what }) => what)).toEqual(['a', 'a', 'n1', 'x']);
    expect(await store.verifyAudit()).toBeUndefined();
    const heard = commitsOf(store);
    await heard.watching;
    await store.commit([{ change: 'put', kind: 'rule', name: 'a', data: 3, expect: 1 }]);
    expect(await heard.until(1)).toMatchObject([{ seq: 1, own: true }]);
    await store.close();
    expect(versionOf(dir)).toEqual([{ user_version: IDENTITY_SCHEMA_VERSION }]);
    const later = await openIdentityStore(dir);
    expect((await later.documents('rule'))[1]).toEqual({ name: 'a', version: 2, data: 3 });
    await later.close();
  });

  test('whose migration was interrupted is as it was, and is migrated by the next one who opens it', async () => {
    const dir = oldState();
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', DIES_WHILE_MIGRATING, join(dir, IDENTITY_FILE)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [said] = await once(child.stdout, 'data');
    expect(String(said)).toBe('half-way');
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(versionOf(dir)).toEqual([{ user_version: 1 }]);
    const store = await openIdentityStore(dir);
    expect((await store.documents('rule')).map(({ version }) => version)).toEqual([1, 1]);
    await store.close();
  });

  test('has the same tables afterwards as a new one', async () => {
    const old = oldState();
    const fresh = join(root, String(++made));
    await (await openIdentityStore(old)).close();
    await (await openIdentityStore(fresh, { create: true })).close();
    const tables = 'SELECT name, sql FROM sqlite_schema ORDER BY name';
    expect(look(old, tables)).toEqual(look(fresh, tables));
  });
});
