import { describe, expect, test } from 'vitest';
import { FIRST_PREVIOUS, hashOf } from './audit.ts';
import type { Committed } from './commits.ts';
import type { AgentRecord, Change, IdentityStore, IssuedSvid, StoredJoinToken } from './identity-store.ts';

/** A store that starts empty, and the same state opened anew (after the first was closed). */
export interface IdentityStoreUnderTest {
  store: IdentityStore;
  reopen: () => Promise<IdentityStore>;
}

const NOW = Date.UTC(2026, 10, 21);
const HOUR = 3_600_000;

/** A credential that lives for an hour. */
export function svidOf(serial: string, over: Partial<IssuedSvid> = {}): IssuedSvid {
  return {
    serial,
    kind: 'workload',
    spiffeId: 'spiffe://example.org/ns/shop/sa/cart',
    agent: 'spiffe://example.org/interlock/agent/join_token/n1',
    rule: 'accounts',
    authority: 'aa',
    issuedAt: NOW,
    notAfter: NOW + HOUR,
    ...over,
  };
}

const token: StoredJoinToken = {
  hash: 'f00',
  agent: 'n1',
  expiresAt: NOW + HOUR,
  createdAt: NOW,
  attributes: {},
};
const agent: AgentRecord = {
  id: 'spiffe://example.org/interlock/agent/join_token/n1',
  attestor: 'join_token',
  attributes: { zone: 'a', __proto__x: 1 },
  serial: '01',
  notAfter: NOW + HOUR,
  attestedAt: NOW,
  banned: false,
};
const entry = (what: string) => ({
  at: NOW,
  who: 'uid:0',
  act: 'rule.put',
  what,
  details: { b: 1, a: ['ä'] },
});
const issue = (svid: IssuedSvid, replaces?: string): Change =>
  replaces === undefined ? { change: 'issue', svid } : { change: 'issue', svid, replaces };

/** What a store tells of its commits, as it comes. */
export function commitsOf(store: IdentityStore) {
  const told: Committed[] = [];
  let wake = Promise.withResolvers<void>();
  let end = () => {};
  const begin = async () => {
    end = await store.watch((commit) => {
      told.push(commit);
      wake.resolve();
      wake = Promise.withResolvers();
    });
  };
  return {
    told,
    watching: begin(),
    /** All that was told, once it is at least so many. */
    async until(count: number): Promise<readonly Committed[]> {
      while (told.length < count) await wake.promise;
      return told;
    },
    stop: () => end(),
  };
}

/** The suite that every identity store passes. `open` gives a new, empty one for each test. */
export function describeIdentityStore(name: string, open: () => Promise<IdentityStoreUnderTest>): void {
  describe(`the identity contract of ${name}`, () => {
    test('starts empty', async () => {
      const { store } = await open();
      expect(await store.documents('rule')).toEqual([]);
      expect(await store.agents()).toEqual([]);
      expect(await store.issued({})).toEqual([]);
      expect(await store.liveCounts(NOW)).toEqual([]);
      expect(await store.revocations()).toEqual([]);
      expect(await store.audit(1, 10)).toEqual([]);
      expect(await store.verifyAudit()).toBeUndefined();
      expect(await store.takeJoinToken('f00')).toBeUndefined();
      await store.close();
    });

    test('keeps documents by kind and name, also for a process that opens it later', async () => {
      const { store, reopen } = await open();
      await store.commit([
        { change: 'put', kind: 'rule', name: 'a', data: { v: 1 } },
        { change: 'put', kind: 'rule', name: '__proto__', data: [null, 'ä'] },
        { change: 'put', kind: 'peer', name: 'a', data: 'other kind' },
        { change: 'put', kind: 'rule', name: 'b', data: 1 },
      ]);
      await store.commit([
        { change: 'put', kind: 'rule', name: 'a', data: { v: 2 } },
        { change: 'remove', kind: 'rule', name: 'b' },
      ]);
      await store.close();
      const later = await reopen();
      expect(await later.documents('rule')).toEqual([
        { name: '__proto__', version: 1, data: [null, 'ä'] },
        { name: 'a', version: 2, data: { v: 2 } },
      ]);
      expect(await later.documents('peer')).toEqual([{ name: 'a', version: 1, data: 'other kind' }]);
      await later.close();
    });

    test('changes a document only at the version that is expected of it', async () => {
      const { store } = await open();
      const put = (data: number, expect?: number): Change => ({
        change: 'put',
        kind: 'rollout',
        name: 'cart',
        data,
        ...(expect === undefined ? {} : { expect }),
      });
      const conflict = { code: 'conflict', subject: 'cart' };
      const versions = async () =>
        (await store.documents('rollout')).map(({ version, data }) => [version, data]);
      await expect(store.commit([put(1, 1)])).rejects.toMatchObject(conflict);
      await store.commit([put(1, 0)]);
      await expect(store.commit([put(2, 0)], entry('x'))).rejects.toMatchObject({
        ...conflict,
        message: expect.stringContaining('is at version 1'),
      });
      await store.commit([put(2, 1), put(3, 2)]);
      await store.commit([put(4)]);
      expect(await versions()).toEqual([[4, 4]]);
      const remove: Change = { change: 'remove', kind: 'rollout', name: 'cart', expect: 3 };
      await expect(store.commit([put(9), remove])).rejects.toMatchObject(conflict);
      expect(await versions()).toEqual([[4, 4]]);
      await store.commit([{ ...remove, expect: 4 }]);
      await expect(store.commit([remove])).rejects.toMatchObject(conflict);
      await store.commit([{ ...remove, expect: 0 }, put(5)]);
      expect(await versions()).toEqual([[1, 5]]);
      expect(await store.audit(1, 9)).toEqual([]);
      await store.close();
    });

    test('lets one of many who change the same version at once do so', async () => {
      const { store } = await open();
      await store.commit([{ change: 'put', kind: 'rollout', name: 'cart', data: 'old' }]);
      const change = (data: number): Change[] => [
        { change: 'put', kind: 'rollout', name: 'cart', data, expect: 1 },
      ];
      const done = await Promise.allSettled([1, 2, 3].map((n) => store.commit(change(n), entry(String(n)))));
      expect(done.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
      expect(await store.documents('rollout')).toEqual([{ name: 'cart', version: 2, data: 1 }]);
      expect((await store.audit(1, 9)).map(({ what }) => what)).toEqual(['1']);
      await store.close();
    });

    test('tells who watches every commit, in order and once', async () => {
      const { store } = await open();
      await store.commit([{ change: 'put', kind: 'rule', name: 'before', data: 1 }]);
      const heard = commitsOf(store);
      await heard.watching;
      await Promise.all([
        store.commit([{ change: 'put', kind: 'rule', name: 'a', data: 1 }], entry('a')),
        store.commit([issue(svidOf('01')), { change: 'agent', agent }]),
        store.commit([{ change: 'remove', kind: 'rule', name: 'a', expect: 9 }]).catch(() => {}),
        store.commit([]),
        store.commit([], entry('b')),
        store.commit([{ change: 'remove', kind: 'rule', name: 'a' }]),
      ]);
      const told = await heard.until(4);
      const first = told[0]?.seq ?? 0;
      expect(told).toEqual([
        {
          seq: first,
          own: true,
          touched: [
            { kind: 'rule', name: 'a' },
            { kind: 'audit', name: '1' },
          ],
        },
        {
          seq: first + 1,
          own: true,
          touched: [
            { kind: 'issued', name: '01' },
            { kind: 'agent', name: agent.id },
          ],
        },
        { seq: first + 2, own: true, touched: [{ kind: 'audit', name: '2' }] },
        { seq: first + 3, own: true, touched: [{ kind: 'rule', name: 'a' }] },
      ]);
      heard.stop();
      const second = commitsOf(store);
      await second.watching;
      await store.commit([{ change: 'allow', what: 'id', value: 'x' }]);
      expect(await second.until(1)).toMatchObject([
        { seq: first + 4, touched: [{ kind: 'revocation', name: 'x' }] },
      ]);
      expect(told).toHaveLength(4);
      await store.close();
    });

    test('says only of which kinds they are where a commit touches thousands of things', async () => {
      const { store } = await open();
      const heard = commitsOf(store);
      await heard.watching;
      await store.commit(
        Array.from({ length: 1001 }, (_, i) => issue(svidOf(`s${i}`))),
        entry('x'),
      );
      expect((await heard.until(1))[0]?.touched).toEqual([{ kind: 'issued' }, { kind: 'audit' }]);
      await store.close();
    });

    test('makes all changes of a commit with its audit entry, or none', async () => {
      const { store } = await open();
      await store.commit([issue(svidOf('01'))]);
      const both: Change[] = [{ change: 'put', kind: 'rule', name: 'x', data: 1 }, issue(svidOf('01'))];
      await expect(store.commit(both, entry('x'))).rejects.toMatchObject({ code: 'conflict', subject: '01' });
      expect(await store.documents('rule')).toEqual([]);
      expect(await store.audit(1, 10)).toEqual([]);
      await store.close();
    });

    test('lets one commit of many at once fail without the others', async () => {
      const { store } = await open();
      const serials = ['01', '02', '01', '03'];
      const done = await Promise.allSettled(serials.map((serial) => store.commit([issue(svidOf(serial))])));
      expect(done.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
      expect((await store.issued({})).map(({ serial }) => serial)).toEqual(['01', '02', '03']);
      await store.close();
    });

    test('gives a join token to one of many who take it at once', async () => {
      const { store } = await open();
      await store.commit([{ change: 'join-token', token }]);
      expect(await store.joinTokens()).toEqual([token]);
      const taken = await Promise.all(Array.from({ length: 20 }, () => store.takeJoinToken('f00')));
      expect(taken.filter((each) => each !== undefined)).toEqual([token]);
      expect(await store.joinTokens()).toEqual([]);
      await store.close();
    });

    test('lets a token be used once until it expires', async () => {
      const { store } = await open();
      const used = await Promise.all([1, 2, 3].map(() => store.useToken('h', NOW + 5, NOW)));
      expect(used.filter(Boolean)).toHaveLength(1);
      expect(await store.useToken('h', NOW + 9, NOW + 4)).toBe(false);
      expect(await store.useToken('h', NOW + 9, NOW + 5)).toBe(true);
      await store.close();
    });

    test('counts as live what is valid and was not replaced, dropped or revoked', async () => {
      const { store } = await open();
      const other = 'spiffe://example.org/interlock/agent/join_token/n2';
      await store.commit([
        issue(svidOf('01')),
        issue(svidOf('02')),
        issue(svidOf('03')),
        issue(svidOf('04')),
      ]);
      await store.commit([issue(svidOf('05', { authority: 'bb' }), '01')]);
      await store.commit([issue(svidOf('06', { agent: other }), '02')]);
      await store.commit([{ change: 'drop', agent: svidOf('').agent, serials: ['03', '06'], at: NOW }]);
      await store.commit([
        {
          change: 'revoke',
          revocation: {
            what: 'serial',
            value: '04',
            authority: 'aa',
            reason: 'lost',
            at: NOW,
            until: NOW + HOUR,
          },
        },
      ]);
      const live = await store.issued({ liveAt: NOW });
      expect(live.map(({ serial }) => serial)).toEqual(['02', '05', '06']);
      const valid = await store.issued({ validAt: NOW });
      expect(valid.map(({ serial }) => serial)).toEqual(['01', '02', '03', '05', '06']);
      expect(await store.liveCounts(NOW)).toEqual([
        { authority: 'aa', kind: 'workload', count: 2 },
        { authority: 'bb', kind: 'workload', count: 1 },
      ]);
      expect(await store.liveCounts(NOW + HOUR)).toEqual([]);
      expect((await store.issued({ serial: '01' }))[0]).toEqual(svidOf('01', { replacedBy: '05' }));
      await store.close();
    });

    test('finds credentials by any of their fields, page after page', async () => {
      const { store } = await open();
      const ids = ['spiffe://a.b/x/1', 'spiffe://a.b/x/2', 'spiffe://a.b/xy', 'spiffe://a.b/%x'];
      await store.commit(
        ids.map((spiffeId, i) => issue(svidOf(`0${i}`, { spiffeId, kind: i === 0 ? 'jwt' : 'workload' }))),
      );
      const serials = async (filter: Parameters<IdentityStore['issued']>[0]) =>
        (await store.issued(filter)).map(({ serial }) => serial);
      expect(await serials({ spiffeId: 'spiffe://a.b/x/*' })).toEqual(['00', '01']);
      expect(await serials({ spiffeId: 'spiffe://a.b/%*' })).toEqual(['03']);
      expect(await serials({ spiffeId: 'spiffe://a.b/xy' })).toEqual(['02']);
      expect(await serials({ kind: 'jwt' })).toEqual(['00']);
      expect(await serials({ limit: 2 })).toEqual(['00', '01']);
      expect(await serials({ limit: 2, after: '01' })).toEqual(['02', '03']);
      expect(await serials({ agent: 'nobody' })).toEqual([]);
      await store.close();
    });

    test('finds credentials in the order in which they end, page after page', async () => {
      const { store } = await open();
      const ends = [NOW + 9000, NOW + 5000, NOW + 7000, NOW + 5000, NOW - 1];
      await store.commit(ends.map((notAfter, i) => issue(svidOf(`0${i}`, { notAfter }))));
      const serials = async (filter: Parameters<IdentityStore['issued']>[0]) =>
        (await store.issued({ order: 'ends', liveAt: NOW, ...filter })).map(({ serial }) => serial);
      expect(await serials({})).toEqual(['01', '03', '02', '00']);
      expect(await serials({ limit: 1 })).toEqual(['01']);
      // One that ends at the same moment is neither left out nor given twice.
      expect(await serials({ limit: 2, after: '01', afterEnd: NOW + 5000 })).toEqual(['03', '02']);
      expect(await serials({ after: '00', afterEnd: NOW + 9000 })).toEqual([]);
      await store.close();
    });

    test('keeps agents and revocations', async () => {
      const { store, reopen } = await open();
      const byId = {
        what: 'id',
        value: svidOf('').spiffeId,
        authority: '',
        reason: 'stolen',
        at: NOW,
      } as const;
      await store.commit([issue(svidOf('01')), { change: 'agent', agent }]);
      await store.commit([
        { change: 'revoke', revocation: byId },
        { change: 'agent', agent: { ...agent, banned: true } },
      ]);
      await store.commit([{ change: 'agent', agent: { ...agent, serial: '02' } }]);
      await store.close();
      const later = await reopen();
      expect(await later.agents()).toEqual([{ ...agent, serial: '02', banned: true }]);
      expect(await later.revocations()).toEqual([byId]);
      // Its certificates are revoked one by one, by their serials.
      expect(await later.issued({ liveAt: NOW })).toHaveLength(1);
      await later.commit([
        { change: 'allow', what: 'id', value: byId.value },
        { change: 'forget-agent', id: agent.id },
      ]);
      expect(await later.revocations()).toEqual([]);
      expect(await later.agents()).toEqual([]);
      await later.close();
    });

    test('gives the documents and agents of some names', async () => {
      const { store } = await open();
      const names = ['a', 'b', '__proto__', '"'];
      await store.commit(names.map((name) => ({ change: 'put', kind: 'rule', name, data: name })));
      await store.commit(names.map((id) => ({ change: 'agent', agent: { ...agent, id } })));
      const some = (await store.documents('rule', ['b', 'none', '"'])).map(({ name }) => name);
      expect(some.toSorted()).toEqual(['"', 'b']);
      expect(await store.documents('rule', [])).toEqual([]);
      expect((await store.agents(['__proto__', 'none'])).map(({ id }) => id)).toEqual(['__proto__']);
      await store.close();
    });

    test('lets nothing be made that requires who is revoked, evicted or unknown', async () => {
      const { store } = await open();
      const { spiffeId } = svidOf('01');
      const { id } = agent;
      const issued = (
        require: { spiffeId?: string; agent?: string; mayBeNew?: boolean },
        serial: string,
      ): Promise<void> =>
        store.commit([{ change: 'require', ...require }, issue(svidOf(serial))], entry(serial));
      await expect(issued({ agent: id }, '01')).rejects.toMatchObject({ code: 'forbidden' });
      await issued({ agent: id, mayBeNew: true, spiffeId }, '02');
      await store.commit([{ change: 'agent', agent }]);
      await issued({ agent: id, spiffeId }, '03');
      const revocation = { what: 'id', value: spiffeId, authority: '', reason: 'x', at: NOW } as const;
      await store.commit([{ change: 'revoke', revocation }]);
      await expect(issued({ spiffeId }, '04')).rejects.toMatchObject({ code: 'forbidden' });
      await store.commit([{ change: 'agent', agent: { ...agent, banned: true } }]);
      for (const mayBeNew of [true, false])
        await expect(issued({ agent: id, mayBeNew }, '05')).rejects.toMatchObject({ code: 'forbidden' });
      expect((await store.issued({})).map(({ serial }) => serial)).toEqual(['02', '03']);
      expect((await store.audit(1, 9)).map(({ what }) => what)).toEqual(['02', '03']);
      await store.close();
    });

    test('leads where no other store has the same state', async () => {
      const { store } = await open();
      const leading = Promise.withResolvers<boolean>();
      const stop = await store.lead(leading.resolve);
      expect(await leading.promise).toBe(true);
      await stop();
      await store.close();
    });

    test('forgets what has expired, and keeps the audit log and revoked identities', async () => {
      const { store } = await open();
      await store.commit(
        [
          issue(svidOf('01')),
          issue(svidOf('02', { notAfter: NOW + 2 * HOUR })),
          { change: 'join-token', token },
          {
            change: 'revoke',
            revocation: {
              what: 'serial',
              value: '01',
              authority: 'aa',
              reason: '',
              at: NOW,
              until: NOW + HOUR,
            },
          },
          { change: 'revoke', revocation: { what: 'id', value: 'x', authority: '', reason: '', at: NOW } },
        ],
        entry('x'),
      );
      await store.useToken('h', NOW + HOUR, NOW);
      expect(await store.prune(NOW + HOUR + 1)).toBe(4);
      expect((await store.issued({})).map(({ serial }) => serial)).toEqual(['02']);
      expect(await store.joinTokens()).toEqual([]);
      expect((await store.revocations()).map(({ value }) => value)).toEqual(['x']);
      expect(await store.audit(1, 10)).toHaveLength(1);
      await store.close();
    });

    test('chains the entries of the audit log in the order of the commits', async () => {
      const { store } = await open();
      await Promise.all(['a', 'b', 'c'].map((what) => store.commit([], entry(what))));
      const log = await store.audit(1, 10);
      expect(log.map(({ seq, what }) => [seq, what])).toEqual([
        [1, 'a'],
        [2, 'b'],
        [3, 'c'],
      ]);
      expect(log.map(({ previous }) => previous)).toEqual([FIRST_PREVIOUS, log[0]?.hash, log[1]?.hash]);
      for (const each of log) expect(hashOf(each)).toBe(each.hash);
      expect(await store.verifyAudit()).toBeUndefined();
      expect(await store.verifyAudit(3)).toBeUndefined();
      expect(await store.audit(2, 1)).toEqual([log[1]]);
      await store.close();
    });

    test('refuses calls after it was closed', async () => {
      const { store } = await open();
      await store.close();
      await expect(store.commit([], entry('late'))).rejects.toMatchObject({ code: 'state' });
      await expect(store.watch(() => {})).rejects.toMatchObject({ code: 'state' });
    });
  });
}
