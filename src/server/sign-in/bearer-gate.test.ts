import { beforeEach, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { problemOf } from '../api/problem.ts';
import { retryAfterOf } from '../api/retry-after.ts';
import { BearerGate, MOST_FAILED } from './bearer-gate.ts';

let timers: ManualTimers;
let looked: string[];
let good: Set<string>;
let gate: BearerGate;
beforeEach(() => {
  timers = new ManualTimers();
  looked = [];
  good = new Set(['mine']);
  gate = new BearerGate({
    timers,
    bearer: {
      async callerOf(token) {
        looked.push(token);
        if (token === 'roleless') throw new InterlockError('forbidden', 'x', 'no role');
        if (token === 'away') throw new InterlockError('unavailable', 'x', 'no keys');
        if (!good.has(token)) throw new InterlockError('untrusted', 'x', 'no good');
        return { who: token, roles: new Set(), isLocal: false };
      },
    },
  });
});

/** The status that a caller is answered, and when it may come back. */
async function status(token: string, address = '192.0.2.1'): Promise<{ status: number; after?: number }> {
  try {
    await gate.callerOf(token, address);
    return { status: 200 };
  } catch (error) {
    const after = retryAfterOf(error);
    return { status: problemOf(error).status, ...(after === undefined ? {} : { after }) };
  }
}

async function fail(times: number, address?: string): Promise<void> {
  for (let i = 0; i < times; i++) await status(`wrong${i}`, address);
}

describe('tokens that fail', () => {
  test('are answered with a wait once there are many, and are looked at no more than ten times a second', async () => {
    await fail(MOST_FAILED.each);
    expect(looked).toHaveLength(MOST_FAILED.each);
    looked = [];
    await fail(1000);
    expect(looked).toHaveLength(1);
    expect(await status('wrong')).toEqual({ status: 429, after: 60 });
    await timers.advance(100);
    await fail(1000);
    expect(looked).toHaveLength(2);
  });

  test('from one address do not shut out another one; of one machine all IPv6 addresses are one', async () => {
    await fail(MOST_FAILED.each + 1, '2001:db8:0:1::1');
    expect((await status('x', '2001:db8:0:1:ffff::2')).status).toBe(429);
    expect((await status('x', '2001:db8:0:2::1')).status).toBe(401);
  });

  test('from very many addresses are bounded in all', async () => {
    for (let i = 0; i <= MOST_FAILED.all; i++) await status('wrong', `10.${i >> 8}.${i & 255}.1`);
    expect((await status('wrong', '192.0.2.9')).status).toBe(429);
  });

  test('are forgotten after a minute', async () => {
    await fail(MOST_FAILED.each + 5);
    await timers.advance(60_000);
    expect((await status('wrong')).status).toBe(401);
  });

  test('do not count where the token is good and has no role, or its issuer is away', async () => {
    for (let i = 0; i < 100; i++) await status(i % 2 === 0 ? 'roleless' : 'away');
    expect([(await status('roleless')).status, (await status('away')).status]).toEqual([403, 503]);
  });
});

describe('a token that was good', () => {
  test('is taken from an address where others fail, and is verified each time', async () => {
    expect((await status('mine')).status).toBe(200);
    await fail(MOST_FAILED.each + 5);
    looked = [];
    expect((await status('mine')).status).toBe(200);
    good.delete('mine');
    expect((await status('mine')).status).toBe(429);
    expect(looked).toEqual(['mine', 'mine']);
    // Now it is one like any other.
    expect((await status('mine')).status).toBe(429);
  });

  test('is taken in each of many calls at once', async () => {
    await status('mine');
    await fail(MOST_FAILED.each + 5);
    const all = await Promise.all(Array.from({ length: 8 }, () => status('mine')));
    expect(all.map((each) => each.status)).toEqual(Array.from({ length: 8 }, () => 200));
  });

  test('for the first time gets in once it is its turn', async () => {
    await fail(MOST_FAILED.each + 5);
    await timers.advance(100);
    expect((await status('mine')).status).toBe(200);
  });
});
