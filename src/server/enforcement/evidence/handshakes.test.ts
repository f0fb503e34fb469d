import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openSqliteStore } from '../../../store/index.ts';
import { realTimers } from '../../timers.ts';
import { accessAt, cart, reporterOf, reportOf, web } from './evidence.test-helper.ts';
import { handshakeCoverage } from './handshakes.ts';
import { openEvidence } from './open.ts';

test('groups of handshakes are added up by pair and kept; plain text has none, and what is no name says nothing', async () => {
  const state = mkdtempSync(join(tmpdir(), 'interlock-handshakes-'));
  onTestFinished(() => rmSync(state, { recursive: true, force: true }));
  await openSqliteStore(state, { create: true }).close();
  const open = () =>
    openEvidence({
      state,
      trustDomain: 'example.org',
      timers: realTimers,
      onFault: (error) => expect.unreachable(String(error)),
    });
  const now = realTimers.now();
  const first = await open();
  const call = (group: string, over = {}) => accessAt(now - 5000, { group, ...over });
  await first.take(
    reporterOf(),
    reportOf(1, {
      accesses: [
        call('X25519MLKEM768', { ok: 7n, mutual: 7n }),
        call('x25519', { ok: 2n, mutual: 2n, lastSeen: BigInt(now - 4000) }),
        call('', { ok: 3n, mutual: 0n, plaintext: 3n }),
        call('', { ok: 1n, mutual: 1n }),
        call('<img src=x>', { ok: 1n, mutual: 1n }),
      ],
    }),
  );
  await first.take(reporterOf(), reportOf(2, { accesses: [call('x25519', { ok: 1n, mutual: 1n })] }));
  const expected = {
    calls: 12,
    postQuantum: 7,
    unknown: 2,
    groups: [
      { group: 'X25519MLKEM768', isPostQuantum: true, calls: 7, pairs: 1, lastSeen: now - 5000 },
      { group: 'x25519', isPostQuantum: false, calls: 3, pairs: 1, lastSeen: now - 4000 },
      { group: 'unknown', isPostQuantum: false, calls: 2, pairs: 1, lastSeen: now - 5000 },
    ],
    callers: [
      {
        principal: web,
        postQuantum: 7,
        classical: 3,
        unknown: 2,
        lastClassical: now - 4000,
        lastPostQuantum: now - 5000,
      },
    ],
    callees: [{ principal: cart, postQuantum: 7, classical: 3, unknown: 2 }],
  };
  expect(handshakeCoverage(first.handshakes)).toMatchObject(expected);
  expect(handshakeCoverage(first.handshakes, now - 4500).calls).toBe(3);
  await first.close();
  const second = await open();
  expect(handshakeCoverage(second.handshakes)).toMatchObject(expected);
  await second.close();
});
