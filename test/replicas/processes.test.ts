import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hasPostgres, newPostgresUrl, startServer } from '../../src/store/postgres/server.test-helper.ts';
import { databaseOf } from '../../src/store/postgres/raw.test-helper.ts';
import { newKeyFile } from './planes.test-helper.ts';
import { agentsPort, Run } from './processes.test-helper.ts';

let dir: string;
const started: Run[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-replicas-'));
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((run) => run.kill()));
  rmSync(dir, { recursive: true, force: true });
});

const run = (...args: readonly string[]) => {
  const one = new Run(args);
  started.push(one);
  return one;
};
/** `interlock up` on a database, in a state directory of its own. */
const up = (url: string, keyFile: string, name: string) => {
  const state = ['--state', join(dir, name), '--database', url, '--key-file', keyFile];
  const ports = ['--listen', '127.0.0.1:0', '--http', '127.0.0.1:0'];
  return run('up', ...state, '--trust-domain', 'example.org', ...ports);
};
const told = (text: string) => text.replaceAll(/\s+/g, ' ');

describe.skipIf(!hasPostgres)('interlock up --database', () => {
  test('runs side by side; an agent goes to the other one when its own is killed, with what it has', async () => {
    const url = await newPostgresUrl();
    const keyFile = newKeyFile();
    const planes = [up(url, keyFile, 'a'), up(url, keyFile, 'b')];
    const ports = await Promise.all(planes.map(agentsPort));
    // One has set the trust domain up, and both have it.
    expect(planes.filter(({ err }) => err.includes('the trust domain was set up'))).toHaveLength(1);
    const token = run('authority', 'token', 'node', '--state', join(dir, 'b'));
    expect(await token.ended).toBe(0);
    const agent = run(
      'agent',
      '--server',
      ports.map((port) => `127.0.0.1:${port}`).join(),
      '--state',
      join(dir, 'n'),
      '--join-token',
      token.out.trim(),
      '--socket',
      join(dir, 'agent.sock'),
    );
    const online = /"server":"127\.0\.0\.1:(\d+)","msg":"connected to the control plane"/;
    const [, first = ''] = await agent.logged(online);
    const there = ports.indexOf(first);
    const before = agent.err.length;
    await planes[there]?.kill();
    const [, second] = await agent.logged(online, before);
    expect(second).toBe(ports[1 - there]);
    // The one that is left answers for the whole state.
    const left = join(dir, there === 0 ? 'b' : 'a');
    const shown = run('authority', 'agents', '--state', left, '--json');
    expect(await shown.ended).toBe(0);
    expect(JSON.parse(shown.out)).toMatchObject({
      agents: [{ id: 'spiffe://example.org/interlock/agent/join_token/node', isConnected: true }],
    });
    // And the same directory may serve again: nobody holds it any more.
    const again = up(url, keyFile, there === 0 ? 'a' : 'b');
    await agentsPort(again);
  }, 120_000);

  test('migrates the tables of the version before, also where it was killed in the middle of that', async () => {
    const url = await newPostgresUrl();
    const keyFile = newKeyFile();
    const first = up(url, keyFile, 'a');
    await agentsPort(first);
    const rules = join(dir, 'rules.yaml');
    writeFileSync(
      rules,
      'apiVersion: interlock.dev/v1alpha1\nkind: IdentityRule\nmetadata: { name: kept }\nspec: { spiffeId: "/kept", ttl: 1h, selectors: ["unix:uid:7"] }\n',
    );
    expect(await run('identity', 'rules', 'apply', rules, '--state', join(dir, 'a')).ended).toBe(0);
    await first.kill('SIGTERM');
    const db = await databaseOf(url);
    const version = async () => (await db.query('select version from interlock_schema')).rows[0].version;
    const newest = await version();
    // The tables of the version before, with all that is in them.
    await db.query(
      'drop table live_head, live_batch, replica, notice; update interlock_schema set version = 1',
    );
    expect(newest).toBe(2);
    // Holds the migration up in front of its end.
    await db.query('begin; select version from interlock_schema for update');
    const killed = up(url, keyFile, 'a');
    const waiting = `select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock' and query like 'update interlock_schema%'`;
    const other = await databaseOf(url);
    while ((await other.query(waiting)).rows[0].n === 0)
      await new Promise((resolve) => setImmediate(resolve));
    await killed.kill();
    await db.query('commit');
    // Nothing of it was made.
    const again = up(url, keyFile, 'a');
    await agentsPort(again);
    expect(await version()).toBe(newest);
    const kept = run('identity', 'rules', 'list', '--state', join(dir, 'a'), '--json');
    expect(await kept.ended).toBe(0);
    expect(kept.out).toContain('kept');
    const audit = run('authority', 'audit', '--state', join(dir, 'a'), '--verify');
    expect(await audit.ended, audit.err).toBe(0);
    await Promise.all([db.end(), other.end()]);
  }, 120_000);

  test('says what is wrong before it serves, and never shows a password', async () => {
    const server = await startServer();
    try {
      const url = server.url();
      const keyFile = newKeyFile();
      const secret = 'pass/w#rd';
      const cases: [readonly string[], string][] = [
        [['--database', url], 'give --key-file'],
        [['--database', `postgres://u:12${secret}@127.0.0.1/db`, '--key-file', keyFile], 'write # as %23'],
        [
          ['--database', `postgres://u:${encodeURIComponent(secret)}@127.0.0.1:1/db`, '--key-file', keyFile],
          'db at 127.0.0.1:1 does not answer',
        ],
      ];
      await Promise.all(
        cases.map(async ([args, text]) => {
          const one = run(
            'up',
            '--state',
            join(dir, 's'),
            '--trust-domain',
            'example.org',
            ...args,
            '--check',
          );
          expect(await one.ended).not.toBe(0);
          const said = told(one.out + one.err);
          expect(said).toContain(text);
          expect(said).not.toContain('w#rd');
          expect(said).not.toContain(encodeURIComponent(secret));
        }),
      );
      // A state directory of its own would be left behind without a word; and the other way round.
      const own = join(dir, 'own');
      expect(await run('authority', 'init', '--trust-domain', 'example.org', '--state', own).ended).toBe(0);
      const leaves = run('up', '--state', own, '--database', url, '--key-file', keyFile);
      expect(await leaves.ended).toBe(1);
      expect(told(leaves.err)).toContain('holds a state of its own');
      const shared = up(url, keyFile, 'shared');
      await agentsPort(shared);
      expect(readFileSync(join(dir, 'shared', 'database'), 'utf8')).not.toContain('//');
      for (const args of [['up', '--listen', '127.0.0.1:0'], ['readiness']]) {
        const one = run(...args, '--state', join(dir, 'shared'));
        expect(await one.ended).toBe(1);
        expect(told(one.err)).toContain('is in the database');
      }
      const twice = up(url, keyFile, 'shared');
      expect(await twice.ended).toBe(1);
      expect(told(twice.err)).toContain('in use by another control plane');
    } finally {
      await server.stop();
    }
  }, 180_000);
});
