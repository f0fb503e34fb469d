// How fast Envoy's access logs become evidence: messages of its access log service, decoded, added up and written to the state.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { parseSpiffeId } from '../src/access/index.ts';
import { RBAC_FILTERS } from '../src/engines/envoy/resources/index.ts';
import { accessLog } from '../src/proto/envoy/index.ts';
import { openEvidence } from '../src/server/enforcement/evidence/open.ts';
import { LoggedCalls } from '../src/server/enforcement/evidence/logged.ts';
import { realTimers } from '../src/server/timers.ts';
import { metadataSlots, readCall, readLogMessage } from '../src/sources/envoy/als/index.ts';
import { httpOf, messageOf, rbac } from '../src/sources/envoy/als/testing.ts';

const ENTRIES = 200_000;
/** As many as Envoy puts into its buffer of 64 KiB. */
const IN_A_MESSAGE = 80;
const ROUNDS = 3;
const GOAL = 30_000;

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const slots = metadataSlots(RBAC_FILTERS);

/** Requests of 20 callers on 40 routes, one in four with an order's number in its path. */
function messages(now: number): Buffer[] {
  const made: Buffer[] = [];
  for (let from = 0; from < ENTRIES; from += IN_A_MESSAGE) {
    const logEntry = Array.from({ length: IN_A_MESSAGE }, (_, k) => {
      const i = from + k;
      const caller = `spiffe://example.org/ns/shop/sa/web-${i % 20}`;
      const path = i % 4 === 0 ? `/orders/${i % 2000}/items?page=2` : `/route-${i % 40}/list`;
      return httpOf(
        {
          request: {
            requestMethod: 1,
            path,
            authority: 'cart.shop.svc:8080',
            userAgent: 'Mozilla/5.0 (X11; Linux x86_64)',
            requestId: `6f1c1a2e-9d0c-4b5e-8f2a-${String(i).padStart(12, '0')}`,
          },
        },
        {
          startTime: {
            seconds: BigInt(Math.floor((now - ENTRIES + i) / 1000)),
            nanos: (i % 1000) * 1_000_000,
          },
          tlsProperties: {
            tlsVersion: 4,
            tlsSniHostname: 'cart',
            peerCertificateProperties: { subjectAltName: [{ san: { case: 'uri', value: caller } }] },
          },
          metadata: rbac({
            interlock_target_deny_shadow_engine_result: 'allowed',
            interlock_target_allow_shadow_engine_result: i % 50 === 0 ? 'denied' : 'allowed',
            interlock_target_allow_shadow_effective_policy_id: '0001/cart/web',
            interlock_deny_enforced_engine_result: 'allowed',
            interlock_allow_enforced_engine_result: 'allowed',
            interlock_allow_enforced_effective_policy_id: '0001/cart/web',
          }),
        },
      );
    });
    made.push(messageOf({ logEntries: { case: 'httpLogs', value: { logEntry } } }));
  }
  return made;
}

/** Messages into evidence until every call is in the state; entries a second. */
async function evidenceSpeed(list: readonly Buffer[]): Promise<number> {
  const state = mkdtempSync(join(tmpdir(), 'interlock-bench-'));
  const fail = (error: unknown) => {
    throw error instanceof Error ? error : new Error(String(error));
  };
  const evidence = await openEvidence({
    state,
    trustDomain: 'example.org',
    timers: realTimers,
    onFault: fail,
  });
  const reporter = {
    key: `${cart}#a`,
    kind: 'envoy',
    identity: cart,
    instance: 'a',
    workloads: [cart],
  } as const;
  const about = { kind: 'requests', port: 8080 } as const;
  const calls = new LoggedCalls(cart, 8080);
  const start = performance.now();
  for (const [i, bytes] of list.entries()) {
    const now = Date.now();
    for (const entry of readLogMessage(bytes, slots).http) {
      const call = readCall(entry, about, now);
      if (typeof call !== 'object') throw new Error(`an entry was left out: ${call}`);
      calls.add(call, now);
    }
    evidence.add(reporter, calls.take());
    // As a stream does: other work has its turn.
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  // Closing waits until what was added is in the state.
  await evidence.close();
  const seconds = (performance.now() - start) / 1000;
  const { requests } = evidence.seen(reporter.key, cart, 0);
  rmSync(state, { recursive: true, force: true });
  if (requests !== ENTRIES) throw new Error(`${requests} of ${ENTRIES} entries are in the evidence`);
  return ENTRIES / seconds;
}

/** The same bytes through the protobuf library, and nothing done with them. */
function librarySpeed(list: readonly Buffer[]): number {
  const start = performance.now();
  let n = 0;
  for (const bytes of list) {
    const { logEntries } = fromBinary(accessLog.StreamAccessLogsMessageSchema, bytes);
    n += logEntries.value?.logEntry.length ?? 0;
  }
  return n / ((performance.now() - start) / 1000);
}

async function measure(): Promise<void> {
  const list = messages(Date.now());
  const bytes = list.reduce((sum, each) => sum + each.length, 0);
  console.log(
    `${ENTRIES.toLocaleString('en')} entries of ${Math.round(bytes / ENTRIES)} bytes, ${IN_A_MESSAGE} in a message, one core`,
  );
  const speeds: number[] = [];
  const library: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    library.push(librarySpeed(list));
    speeds.push(await evidenceSpeed(list));
  }
  const [speed, parse] = [median(speeds), median(library)];
  console.log(
    `@bufbuild/protobuf, decoding alone:              ${Math.round(parse).toLocaleString('en')} entries/s`,
  );
  console.log(
    `ALS entries into evidence, decoded and written:  ${Math.round(speed).toLocaleString('en')} entries/s, ` +
      `ratio ${(speed / parse).toFixed(2)}  (goal: at least ${GOAL.toLocaleString('en')})`,
  );
  process.exitCode = speed >= GOAL ? 0 : 1;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

const ON_ONE_CORE = 'INTERLOCK_BENCH_ONE_CORE';
if (process.env[ON_ONE_CORE] === undefined) {
  // taskset is part of util-linux; the thread that writes shares the core.
  const env = { ...process.env, [ON_ONE_CORE]: '1' };
  const { status, error } = spawnSync('taskset', ['-c', '0', process.execPath, import.meta.filename], {
    stdio: 'inherit',
    env,
  });
  if (error !== undefined) console.log(`taskset is not here (${error.message}): not measured`);
  process.exitCode = status ?? 1;
} else await measure();
