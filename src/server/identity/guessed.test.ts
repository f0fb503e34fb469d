import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { createJoinToken } from '../../identity/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import type { StoredJoinToken } from '../../store/index.ts';
import { TestAgent, TestPlane } from '../testing.test-helper.ts';
import { AttestGate, GuessedTokens } from './guessed.ts';
import { random } from './signing-keys.ts';

const MINUTE = 60_000;
let plane: TestPlane | undefined;
afterEach(async () => {
  await plane?.remove();
  plane = undefined;
});

/** A store that answers when it is told to, and counts what it is asked. */
function slowStore(timers: ManualTimers) {
  const kept = new Map<string, StoredJoinToken>();
  const asked = { takes: 0, looks: 0 };
  const waiting: (() => void)[] = [];
  const answered = <T>(answer: () => T) => new Promise<T>((resolve) => waiting.push(() => resolve(answer())));
  const store = {
    takeJoinToken: (hash: string) => {
      asked.takes++;
      return answered(() => {
        const found = kept.get(hash);
        kept.delete(hash);
        return found;
      });
    },
    joinTokens: () => {
      asked.looks++;
      return answered(() => [...kept.values()]);
    },
  };
  const tokens = new GuessedTokens({ store, recorder: { within: (asking) => asking }, timers });
  const make = (agent: string) => {
    const { hash } = createJoinToken(random, Buffer.from('root'));
    kept.set(hash, { hash, agent, expiresAt: Infinity, createdAt: 0, attributes: {} });
    return hash;
  };
  /** Answers until nobody asks any more. */
  const answerAll = async () => {
    for (let turns = 0; turns < 3; ) {
      for (const answer of waiting.splice(0)) answer();
      await new Promise((resolve) => setImmediate(resolve));
      turns = waiting.length === 0 ? turns + 1 : 0;
    }
  };
  return { tokens, asked, make, answerAll };
}

const guess = () => createJoinToken(random, Buffer.from('root')).hash;

describe('join tokens that are guessed', () => {
  test('cost the store one question at a time, and a good one among them is found', async () => {
    const timers = new ManualTimers();
    const { tokens, asked, make, answerAll } = slowStore(timers);
    const first = Array.from({ length: 31 }, () => tokens.takeJoinToken(guess()));
    await answerAll();
    expect((await Promise.all(first)).some((found) => found !== undefined)).toBe(false);
    asked.takes = 0;
    const guesses = Array.from({ length: 5000 }, () => tokens.takeJoinToken(guess()));
    const good = tokens.takeJoinToken(make('node-1'));
    await answerAll();
    expect(await good).toMatchObject({ agent: 'node-1' });
    expect((await Promise.all(guesses)).some((found) => found !== undefined)).toBe(false);
    // The look that was under way when most of them came, the next, and the good one alone.
    expect(asked).toEqual({ looks: 2, takes: 1 });
    await timers.advance(MINUTE);
    const later = tokens.takeJoinToken(guess());
    await answerAll();
    expect([await later, asked]).toEqual([undefined, { looks: 2, takes: 2 }]);
  });

  test('from one address are told to wait; a node behind the same address joins all the same', async () => {
    plane = await TestPlane.make();
    await plane.serve();
    const guessed = async () => {
      const { token } = createJoinToken(random, Buffer.from('root'));
      // Rejects with the gRPC error.
      return new TestAgent(plane as TestPlane)
        .attest('join_token', token)
        .catch(({ code }: { code: number }) => code);
    };
    const codes: unknown[] = [];
    for (let i = 0; i < 32; i++) codes.push(await guessed());
    expect(codes.slice(0, 30).every((code) => code === status.UNAUTHENTICATED)).toBe(true);
    expect(codes.slice(30)).toEqual([status.RESOURCE_EXHAUSTED, status.RESOURCE_EXHAUSTED]);
    const agent = await plane.agent('node-1');
    expect(agent.id).toBe('spiffe://example.org/interlock/agent/join_token/node-1');
  });
});

describe('evidence that costs more to look at', () => {
  const bad = () => Promise.reject(new InterlockError('untrusted', 'x', 'forged'));

  test('is looked at ten times a second once too much has failed, for one address or for all', async () => {
    const timers = new ManualTimers();
    const gate = new AttestGate(timers);
    let looked = 0;
    const look = () => {
      looked++;
      return bad();
    };
    const tries = async (address: string, attest: () => Promise<string> = look) =>
      gate.tried(address, 'oidc', attest).catch((error: InterlockError) => error.code);
    for (let i = 0; i < 100; i++) await tries(`[::1]:${i}`.replace(/[[\]]/g, ''));
    expect(looked).toBe(31);
    expect(await tries('10.0.0.1:1')).toBe('untrusted');
    await timers.advance(100);
    expect(await tries('::1:9', async () => 'let in')).toBe('let in');
    expect(await tries('::1:9', async () => 'let in')).toBe('limit');
    for (let i = 0; i < 1000; i++) await tries(`10.0.${i >> 8}.${i & 255}:1`);
    expect(await tries('10.9.9.9:1')).toBe('limit');
    await timers.advance(MINUTE);
    expect(await tries('10.9.9.9:1', async () => 'let in')).toBe('let in');
  });

  test('that fails by our own fault counts for nobody', async () => {
    const gate = new AttestGate(new ManualTimers());
    const away = () => Promise.reject(new InterlockError('unavailable', 'database', 'away'));
    for (let i = 0; i < 100; i++) await gate.tried('10.0.0.1:1', 'oidc', away).catch(() => {});
    expect(await gate.tried('10.0.0.1:1', 'oidc', async () => 'let in')).toBe('let in');
  });
});
