import { create } from '@bufbuild/protobuf';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { derOf, exportPkcs8 } from '../../identity/index.ts';
import { delegated } from '../../proto/index.ts';
import type { WatchHandler, X509Svid } from '../../workload/index.ts';
import { TestAuthority, TestClock, TestView } from '../../workload/testing.ts';
import type { ProcessMarks } from './proc.ts';
import { ProcessBook } from './process-book.ts';

const isLinux = process.platform === 'linux';
if (!isLinux) console.log('processes are not looked at: this is not Linux');

const root = new TestAuthority('example.org');
const other = new TestAuthority('other.example');
const [web, job, foreign] = [root.svid('/web'), root.svid('/job'), root.svid('/foreign')];
const [WEB, JOB] = [web.spiffeId, job.spiffeId];

const answerOf = (...svids: X509Svid[]) =>
  create(delegated.SubscribeToX509SVIDsResponseSchema, {
    x509Svids: svids.map(({ spiffeId, chain, key, hint }) => ({
      x509Svid: {
        certChain: chain.map(({ der }) => der),
        id: { trustDomain: 'example.org', path: spiffeId.slice('spiffe://example.org'.length) },
        expiresAt: 0n,
        hint,
      },
      x509SvidKey: exportPkcs8(key),
    })),
    federatesWith: ['spiffe://other.example'],
  });
const bundles = (...authorities: TestAuthority[]) =>
  create(delegated.SubscribeToX509BundlesResponseSchema, {
    caCertificates: Object.fromEntries(
      authorities.map((authority) => [`spiffe://${authority.trustDomain}`, derOf(authority.bundle())]),
    ),
  });

const children: ChildProcess[] = [];
const books: ProcessBook[] = [];
afterEach(() => {
  for (const book of books.splice(0)) book.close();
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function sleeper() {
  const child = spawn('/bin/sleep', ['1000']);
  children.push(child);
  await once(child, 'spawn');
  if (child.pid === undefined) throw new Error('no process');
  return { child, pid: child.pid };
}

function bookWith() {
  const streams = new Map<number, WatchHandler<delegated.SubscribeToX509SVIDsResponse>>();
  const closed: number[] = [];
  let trust: WatchHandler<delegated.SubscribeToX509BundlesResponse> | undefined;
  let marks: ProcessMarks = { uid: 7, executable: '/bin/sleep' };
  const own = new TestView(root.svid('/node'), [root.bundle()]);
  const faults: string[] = [];
  const views: string[] = [];
  const clock = new TestClock();
  const book = new ProcessBook({
    client: {
      watchProcess: (pid, isStill, handler) => {
        isStill();
        streams.set(pid, handler);
        return { close: () => closed.push(pid) };
      },
      watchBundles: (handler) => {
        trust = handler;
        return { close: () => {} };
      },
      close: () => {},
    },
    proc: { marksOf: () => marks },
    workloads: new Set([WEB, JOB]),
    own,
    clock,
    onView: (workload) => views.push(workload),
    onFault: ({ message }) => faults.push(message),
  });
  books.push(book);
  const meet = (pid: number) => {
    const held = book.hold(pid);
    if (held === undefined) throw new Error('it is gone');
    return book.meet(held, 5n);
  };
  return {
    book,
    own,
    clock,
    faults,
    views,
    closed,
    meet,
    say: (pid: number, ...svids: X509Svid[]) => streams.get(pid)?.onMessage(answerOf(...svids)),
    fail: (pid: number, error: InterlockError) => streams.get(pid)?.onError(error),
    trust: (...authorities: TestAuthority[]) => trust?.onMessage(bundles(...authorities)),
    become: (executable: string) => {
      marks = { ...marks, executable };
    },
  };
}

describe.skipIf(!isLinux)('the processes of a node', () => {
  test('are the workloads that the agent says, in its order, and only those of this node', async () => {
    const { meet, say, trust, views } = bookWith();
    const { pid } = await sleeper();
    const met = meet(pid);
    trust(root, other);
    say(pid, foreign, job, web);
    expect(await met).toMatchObject({ pid, uid: 7, cgroup: 5n, workloads: [JOB, WEB] });
    expect(views).toEqual([JOB, WEB]);
  });

  test('are nobody before it is known whom to trust', async () => {
    const { book, meet, say, trust } = bookWith();
    const { pid } = await sleeper();
    const met = meet(pid);
    say(pid, web);
    expect(book.views.get(WEB)).toBeUndefined();
    trust(root);
    expect((await met)?.workloads).toEqual([WEB]);
    expect([...(book.views.get(WEB)?.state.bundles.keys() ?? [])]).toEqual(['example.org']);
  });

  test('lose an identity as soon as the agent takes it away', async () => {
    const { book, meet, say, trust } = bookWith();
    const { pid } = await sleeper();
    const met = meet(pid);
    trust(root);
    say(pid, web);
    await met;
    say(pid);
    expect(book.known(pid)?.workloads).toEqual([]);
  });

  test('get no identity that the trust of this moment does not prove', async () => {
    const { book, meet, say, trust, faults } = bookWith();
    const { pid } = await sleeper();
    const met = meet(pid);
    trust(new TestAuthority('example.org'));
    say(pid, web);
    expect((await met)?.workloads).toEqual([]);
    expect(book.views.get(WEB)).toBeUndefined();
    expect(faults).toHaveLength(1);
  });

  test('are forgotten once they have ended, whoever has their number then', async () => {
    const { book, meet, say, trust, closed } = bookWith();
    const { child, pid } = await sleeper();
    const met = meet(pid);
    trust(root);
    say(pid, web);
    await met;
    child.kill('SIGKILL');
    await once(child, 'exit');
    // What is said of the number now is said of another process.
    say(pid, job);
    expect(book.known(pid)).toBeUndefined();
    expect(closed).toEqual([pid]);
    expect(book.views.get(JOB)).toBeUndefined();
  });

  test('are asked about anew once they run another program', async () => {
    const { book, meet, say, trust, become, closed } = bookWith();
    const { pid } = await sleeper();
    const met = meet(pid);
    trust(root);
    say(pid, web);
    await met;
    become('/bin/other');
    expect(book.known(pid)).toBeUndefined();
    expect(closed).toEqual([pid]);
    const again = meet(pid);
    say(pid, job);
    expect((await again)?.workloads).toEqual([JOB]);
  });

  test('stay what they are while the agent is away; who is new then is nobody', async () => {
    const { book, meet, say, trust, fail, faults } = bookWith();
    const away = new InterlockError('unavailable', 'agent', 'away');
    const [first, second] = [await sleeper(), await sleeper()];
    const met = meet(first.pid);
    trust(root);
    say(first.pid, web);
    await met;
    fail(first.pid, away);
    expect(book.known(first.pid)?.workloads).toEqual([WEB]);
    const late = meet(second.pid);
    fail(second.pid, away);
    expect((await late)?.workloads).toEqual([]);
    // Said once, for all of them.
    expect(faults).toEqual(['away']);
  });

  test('are nobody where the agent says nothing in time', async () => {
    const { meet, clock } = bookWith();
    const { pid } = await sleeper();
    const met = meet(pid);
    clock.advance(10_000);
    expect((await met)?.workloads).toEqual([]);
  });

  test('share one identity, which the latest SVID and the newest trust make', async () => {
    const { book, own, meet, say, trust } = bookWith();
    const [first, second] = [await sleeper(), await sleeper()];
    const both = [meet(first.pid), meet(second.pid)];
    trust(root);
    const newer = root.svid('/web', { notBefore: (web.chain[0]?.notBefore ?? 0) + 1000 });
    say(first.pid, newer);
    say(second.pid, web);
    await Promise.all(both);
    const view = book.views.get(WEB);
    expect(view?.state.svid.chain[0]?.serial).toBe(newer.chain[0]?.serial);
    let told = 0;
    view?.onUpdate(() => told++);
    say(first.pid, newer);
    expect(told).toBe(0);
    const crls = [{ revoked: true }];
    own.set({ crls: crls as never });
    expect(view?.state.crls).toBe(crls);
    trust(root, other);
    expect([...(view?.state.bundles.keys() ?? [])].toSorted()).toEqual(['example.org', 'other.example']);
  });
});
