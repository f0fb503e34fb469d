// Commits with audit entries and live batches a second, PostgreSQL against SQLite, and how soon another replica hears of a
// commit. Both are durable at each answer: SQLite with synchronous = FULL, PostgreSQL with fsync and synchronous_commit.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tally } from '../src/access/index.ts';
import {
  type IdentityStore,
  type LiveStore,
  openIdentityStore,
  openLiveStore,
  openPostgresStores,
} from '../src/store/index.ts';
import { hasPostgres, startServer } from '../src/store/postgres/server.test-helper.ts';

const ROUNDS = 5;
const ROUND_MS = 1500;
/** Accesses in one live batch: about what 50 proxies report in a second. */
const ACCESSES = 100;
const HEARD = 300;

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const quantile = (values: readonly number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;
const whole = (n: number) => Math.round(n).toLocaleString('en');

/** Calls `once` again and again on so many lanes for a round; how often a second. */
async function rate(lanes: number, once: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let done = 0;
  const lane = async () => {
    while (performance.now() - start < ROUND_MS) {
      await once();
      done++;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return done / ((performance.now() - start) / 1000);
}

let made = 0;
const committing = (store: IdentityStore) => () => {
  const n = ++made;
  const name = `r${n % 1000}`;
  const entry = { at: n, who: 'uid:0', act: 'rule.put', what: name, details: { n } };
  return store.commit([{ change: 'put', kind: 'rule', name, data: { n } }], entry);
};

const adding = (store: LiveStore, reporter: string) => () => {
  const n = ++made;
  const at = 1_780_000_000_000 + n * 1000;
  const tally = new Tally('proxy');
  for (let i = 0; i < ACCESSES; i++) {
    const at100 = (n * 37 + i) % 10_000;
    tally
      .access(
        { spiffeId: `spiffe://example.org/ns/a/sa/c${at100 % 50}` },
        { spiffeId: `spiffe://example.org/ns/b/sa/s${at100 % 100}` },
        { kind: 'http', port: 80, method: 'GET', path: `/items/${at100}` },
        'callee',
      )
      .add(at, 'ok', `pod-${at100 % 7}`, 3);
  }
  tally.read = tally.accepted = ACCESSES;
  const marks = [{ reporter, epoch: 'e', sequence: n }];
  const nothing = { flips: [], plaintext: [], coverage: [], settled: [], forgotten: [] };
  return store.addLive({ at, marks, ...nothing }, [tally]);
};

/** Runs both by turns, so that whatever else the machine does befalls both. */
async function compare(
  what: string,
  lanes: number,
  sqlite: () => Promise<unknown>,
  postgres: () => Promise<unknown>,
) {
  const rates: { sqlite: number[]; postgres: number[] } = { sqlite: [], postgres: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rates.sqlite.push(await rate(lanes, sqlite));
    rates.postgres.push(await rate(lanes, postgres));
  }
  const ratio = median(rates.postgres.map((n, i) => n / (rates.sqlite[i] ?? Number.NaN)));
  console.log(
    `${what.padEnd(48)} SQLite ${whole(median(rates.sqlite)).padStart(7)}/s  PostgreSQL ${whole(median(rates.postgres)).padStart(7)}/s  ratio, median of ${ROUNDS} pairs: ${ratio.toFixed(2)}`,
  );
}

if (!hasPostgres) process.exit(1);
const dir = mkdtempSync(join(tmpdir(), 'interlock-bench-store-'));
const server = await startServer(['shared_buffers=128MB']);
try {
  const url = server.url();
  const [one, two] = [await openPostgresStores(url), await openPostgresStores(url)];
  const sqlite = await openIdentityStore(dir, { create: true });
  const trustDomain = 'example.org';
  const [here, there] = [await openLiveStore(dir, { trustDomain }), await one.live({ trustDomain })];
  for (const lanes of [1, 16, 256])
    await compare(
      `commits with an audit entry, ${lanes} at once`,
      lanes,
      committing(sqlite),
      committing(one.identity),
    );
  await compare(`live batches of ${ACCESSES} accesses`, 1, adding(here, 'proxy'), adding(there, 'proxy'));

  let heard = Promise.withResolvers<number>();
  await two.identity.watch(() => heard.resolve(performance.now()));
  const commit = committing(one.identity);
  const [whole1, after]: [number[], number[]] = [[], []];
  for (let i = 0; i < HEARD; i++) {
    const start = performance.now();
    await commit();
    const answered = performance.now();
    const at = await heard.promise;
    heard = Promise.withResolvers();
    whole1.push(at - start);
    after.push(at - answered);
  }
  const shown = (values: readonly number[]) =>
    `p50 ${quantile(values, 0.5).toFixed(1)} ms  p99 ${quantile(values, 0.99).toFixed(1)} ms  most ${Math.max(...values).toFixed(1)} ms`;
  console.log(`from the call of commit to the watcher of another replica, ${HEARD} times: ${shown(whole1)}`);
  console.log(`from its answer to that watcher: ${shown(after)}`);
  console.log('goal: well under 250 ms');
  await Promise.all([sqlite.close(), here.close(), one.close(), two.close()]);
} finally {
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
}
