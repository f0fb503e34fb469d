import { describe, expect, test } from 'vitest';
import { commitsOf, describeIdentityStore, svidOf } from '../../identity-contract.test-helper.ts';
import type { Change } from '../../identity-store.ts';
import { hasPostgres, newPostgresUrl } from '../server.test-helper.ts';
import { closeAfterEach, openStores } from '../stores.test-helper.ts';
import { databaseOf } from '../raw.test-helper.ts';

closeAfterEach();

const entry = (what: string) => ({ at: 1, who: 'system', act: 'test', what, details: null });
const put = (name: string, data = 1): Change => ({ change: 'put', kind: 'rule', name, data });

/** Two replicas on one database. */
async function replicas() {
  const url = await newPostgresUrl();
  const [one, two] = [await openStores(url), await openStores(url)];
  return { url, one: one.identity, two: two.identity };
}

describe.skipIf(!hasPostgres)('on PostgreSQL', () => {
  describeIdentityStore('the PostgreSQL identity store', async () => {
    const url = await newPostgresUrl();
    const open = async () => (await openStores(url)).identity;
    return { store: await open(), reopen: open };
  });

  describe('two replicas', () => {
    test('chain one audit log without a gap, whoever commits', async () => {
      const { one, two } = await replicas();
      const names = Array.from({ length: 60 }, (_, i) => String(i));
      await Promise.all(names.map((name, i) => (i % 2 === 0 ? one : two).commit([put(name)], entry(name))));
      const log = await one.audit(1, 100);
      expect(log.map(({ seq }) => seq)).toEqual(names.map((_, i) => i + 1));
      expect(new Set(log.map(({ what }) => what))).toEqual(new Set(names));
      expect(await two.verifyAudit()).toBeUndefined();
    });

    test('hear all commits of both, in the same order, each knowing its own', async () => {
      const { one, two } = await replicas();
      const [atOne, atTwo] = [commitsOf(one), commitsOf(two)];
      await Promise.all([atOne.watching, atTwo.watching]);
      const commits = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? one : two).commit([put(`n${i}`)]));
      await Promise.all(commits);
      const [first, second] = [await atOne.until(40), await atTwo.until(40)];
      expect(first.map(({ seq }) => seq)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
      expect(second.map(({ seq, touched }) => [seq, touched])).toEqual(
        first.map(({ seq, touched }) => [seq, touched]),
      );
      expect(first.map(({ own }) => own)).toEqual(second.map(({ own }) => !own));
    });

    test('change one version of a document once', async () => {
      const { one, two } = await replicas();
      const change = (data: string): Change[] => [
        { change: 'put', kind: 'rollout', name: 'cart', data, expect: 0 },
      ];
      for (let i = 0; i < 10; i++) {
        const done = await Promise.allSettled([
          one.commit(change('one'), entry('one')),
          two.commit(change('two'), entry('two')),
        ]);
        expect(done.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
        const winner = done[0].status === 'fulfilled' ? 'one' : 'two';
        expect(await one.documents('rollout')).toEqual([{ name: 'cart', version: 1, data: winner }]);
        expect((await two.audit(i + 1, 9)).map(({ what }) => what)).toEqual([winner]);
        await one.commit([{ change: 'remove', kind: 'rollout', name: 'cart', expect: 1 }]);
      }
    });

    test('give a join token and a single use away once, and no serial twice', async () => {
      const { one, two } = await replicas();
      const token = { hash: 'f00', agent: 'n1', expiresAt: 9, createdAt: 1, attributes: {} };
      await one.commit([{ change: 'join-token', token }]);
      const both = [one, two, one, two];
      const taken = await Promise.all(both.map((each) => each.takeJoinToken('f00')));
      expect(taken.filter((each) => each !== undefined)).toEqual([token]);
      const used = await Promise.all(both.map((each) => each.useToken('h', 100, 50)));
      expect(used.filter(Boolean)).toHaveLength(1);
      const issued = await Promise.allSettled(
        both.map((each) => each.commit([{ change: 'issue', svid: svidOf('01') }])),
      );
      expect(issued.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    test('refuse a used token that is over for one whose clock is ahead, and valid for the other', async () => {
      const { one, two } = await replicas();
      expect(await one.useToken('h', 100, 50)).toBe(true);
      expect(await one.useToken('other', 300, 200)).toBe(true);
      expect(await two.useToken('h', 100, 60)).toBe(false);
    });
  });

  test('who was away for longer than commits are remembered is told so, and goes on', async () => {
    const url = await newPostgresUrl();
    const { identity } = await openStores(url);
    const heard = commitsOf(identity);
    await heard.watching;
    await identity.commit([put('a')]);
    await heard.until(1);
    const db = await databaseOf(url);
    // As if 20,000 commits had been made and forgotten meanwhile.
    await db.query('update head set seq = 30000');
    await db.end();
    await identity.commit([put('b')]);
    expect((await heard.until(2)).slice(1)).toEqual([
      { seq: 30_001, touched: [{ kind: 'rule', name: 'b' }], own: true, missed: true },
    ]);
    await identity.commit([put('c')]);
    expect((await heard.until(3))[2]).not.toHaveProperty('missed');
  });

  test('forgets old commits by their number, and nothing of the rest', async () => {
    const url = await newPostgresUrl();
    const { identity } = await openStores(url);
    const db = await databaseOf(url);
    await identity.commit([put('a')]);
    await db.query('update head set seq = 20991');
    for (let i = 0; i < 3; i++) await identity.commit([put('a')]);
    const { rows } = await db.query('select seq::int from commit_log order by seq');
    await db.end();
    // 20,992 is a multiple of 256: it forgot what is 20,000 or more behind it.
    expect(rows.map(({ seq }) => seq)).toEqual([20_992, 20_993, 20_994]);
  });

  test('a notification is a hint and nothing more: made up, huge, and by the hundred', async () => {
    const url = await newPostgresUrl();
    const { identity } = await openStores(url);
    const heard = commitsOf(identity);
    await heard.watching;
    const db = await databaseOf(url);
    const channel = `${new URL(url).searchParams.get('schema')}_commit`;
    for (const payload of ['', '{"seq":1}', '999999', "'; drop table audit; --", 'x'.repeat(7999)])
      await db.query('select pg_notify($1, $2 || n) from generate_series(1, 100) as n', [
        channel,
        payload.slice(0, 7990),
      ]);
    await db.end();
    await identity.commit([put('a')]);
    expect(await heard.until(1)).toEqual([{ seq: 1, own: true, touched: [{ kind: 'rule', name: 'a' }] }]);
  });

  test('the audit log refuses UPDATE, DELETE and TRUNCATE, and shows what was changed without its guard', async () => {
    const cases: [string, unknown][] = [
      [`update audit set details = '{}' where seq = 3`, { seq: 3, reason: 'changed' }],
      ['update audit set at = 2 where seq = 5', { seq: 5, reason: 'changed' }],
      ['delete from audit where seq = 1', { seq: 1, reason: 'missing' }],
      ['delete from audit where seq = 4', { seq: 4, reason: 'missing' }],
      ['delete from audit where seq > 3', { seq: 4, reason: 'missing' }],
      ['truncate audit', { seq: 1, reason: 'missing' }],
    ];
    for (const [sql, fault] of cases) {
      const url = await newPostgresUrl();
      const { identity } = await openStores(url);
      for (const what of ['a', 'b', 'c', 'd', 'e']) await identity.commit([], entry(what));
      const db = await databaseOf(url);
      await expect(db.query(sql)).rejects.toThrow('append-only');
      await db.query(`alter table audit disable trigger all; ${sql}`);
      await db.end();
      expect(await identity.verifyAudit(), sql).toEqual(fault);
    }
  });

  test('a commit that is no JSON fails alone', async () => {
    const { identity } = await openStores(await newPostgresUrl());
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    const bad = { ...put('bad'), data: cyclic } as unknown as Change;
    const svid = { change: 'issue', svid: svidOf('01') } as const;
    await identity.commit([svid]);
    const done = await Promise.allSettled([
      identity.commit([put('a')]),
      // Its conflict is known only after what cannot be sent.
      identity.commit([svid, bad], entry('bad')),
      identity.commit([put('b')], entry('b')),
    ]);
    expect(done.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((await identity.documents('rule')).map(({ name }) => name)).toEqual(['a', 'b']);
    expect((await identity.audit(1, 9)).map(({ what }) => what)).toEqual(['b']);
  });

  test('is durable at its answer, also for a user whose settings say otherwise', async () => {
    const url = await newPostgresUrl();
    const { identity } = await openStores(url);
    await identity.commit([put('a')]);
    const db = await databaseOf(url);
    const schema = new URL(url).searchParams.get('schema') ?? '';
    await db.query(`create role ${schema}_weak superuser login; alter role ${schema}_weak set synchronous_commit = off;
      create function tell() returns trigger language plpgsql as
        $$ begin new.data = to_json(current_setting('synchronous_commit')); return new; end $$;
      create trigger tell before insert on document for each row execute function tell()`);
    await db.end();
    const weak = await openStores(url.replace('//postgres@', `//${schema}_weak@`));
    await weak.identity.commit([put('b')]);
    expect((await identity.documents('rule')).map(({ data }) => data)).toEqual([1, 'on']);
  });

  test('every filter of credentials has an index that serves it', async () => {
    const url = await newPostgresUrl();
    const { identity } = await openStores(url);
    await identity.commit([{ change: 'issue', svid: svidOf('01') }]);
    const db = await databaseOf(url);
    await db.query('set enable_seqscan = off');
    const filters = {
      issued_pkey: `serial > '0'`,
      issued_by_id: `spiffe_id >= 'a' and spiffe_id < 'b'`,
      issued_by_agent: `agent = 'a'`,
      issued_by_rule: `rule = 'a'`,
      issued_by_authority: `authority = 'a'`,
      issued_live: `authority = 'a' and kind = 'jwt' and replaced_by is null and dropped_at is null and revoked_at is null and not_after > 5`,
      issued_by_end: 'not_after < 5',
    };
    for (const [index, where] of Object.entries(filters)) {
      const { rows } = await db.query(`explain select * from issued where ${where}`);
      expect(JSON.stringify(rows)).toContain(index);
    }
    await db.end();
  });
});
