import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { context, NOW } from './example.test-helper.ts';
import {
  attestedAgent,
  attestorNamed,
  createJoinToken,
  type JoinToken,
  JoinTokenAttestor,
  matchesPin,
  pinOf,
  readJoinToken,
} from './index.ts';

const ROOT = Buffer.from('the key of the root');

/** Tokens in memory, as a store keeps them. */
function tokens(...records: readonly JoinToken[]) {
  const kept = new Map(records.map((record) => [record.hash, record]));
  return {
    kept,
    takeJoinToken(hash: string) {
      const record = kept.get(hash);
      kept.delete(hash);
      return Promise.resolve(record);
    },
  };
}

const record = (hash: string, more: Partial<JoinToken> = {}): JoinToken => ({
  hash,
  agent: 'node-1',
  expiresAt: NOW + 1,
  ...more,
});

describe('a join token', () => {
  test('is random, kept as its hash, and pins the root', () => {
    const made = createJoinToken(randomBytes, ROOT);
    expect(made.token).toMatch(/^ijt_[A-Za-z0-9_-]{43}\.[0-9a-f]{32}$/);
    const { secret, pin } = readJoinToken(made.token);
    expect(made.hash).toBe(createHash('sha256').update(secret).digest('hex'));
    expect(pin).toBe(createHash('sha256').update(ROOT).digest('hex').slice(0, 32));
    expect([
      matchesPin(ROOT, pin ?? ''),
      matchesPin(Buffer.from('another'), pin ?? ''),
      matchesPin(ROOT, ''),
    ]).toEqual([true, false, false]);
    expect(pinOf(ROOT)).toBe(pin);
    expect(createJoinToken(randomBytes, ROOT).token).not.toBe(made.token);
  });

  test('attests a node once, with what was said when it was made', async () => {
    const { token, hash } = createJoinToken(randomBytes, ROOT);
    const attestor = new JoinTokenAttestor(
      tokens(record(hash, { attributes: { area: 'pay', nothing: null } })),
    );
    const attested = await attestor.attest(Buffer.from(token), context());
    expect(attested).toEqual({ name: 'node-1', selectors: [], claims: { area: 'pay' }, reattestable: false });
    expect(attestedAgent('example.org', 'join_token', attested, '/area/pay/').agent.id).toBe(
      'spiffe://example.org/area/pay/interlock/agent/join_token/node-1',
    );
    await expect(attestor.attest(Buffer.from(token), context())).rejects.toThrow(/used already/);
  });

  test('serves one of two that come at once', async () => {
    const { token, hash } = createJoinToken(randomBytes, ROOT);
    const attestor = new JoinTokenAttestor(tokens(record(hash)));
    const results = await Promise.allSettled(
      [1, 2, 3].map(() => attestor.attest(Buffer.from(token), context())),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('works without its pin, which is for the agent', async () => {
    const { token, hash } = createJoinToken(randomBytes, ROOT);
    const attestor = new JoinTokenAttestor(tokens(record(hash)));
    expect((await attestor.attest(Buffer.from(readJoinToken(token).secret), context())).name).toBe('node-1');
  });

  test('that has expired is refused, and gone', async () => {
    const { token, hash } = createJoinToken(randomBytes, ROOT);
    const store = tokens(record(hash));
    const late = new JoinTokenAttestor(store).attest(Buffer.from(token), context(NOW + 1));
    await expect(late).rejects.toThrow(/it expired at 2026-11-21T05:00:00.001Z/);
    expect(store.kept.size).toBe(0);
  });

  test('whose record is not its own is refused', async () => {
    const { token } = createJoinToken(randomBytes, ROOT);
    const wrong = { takeJoinToken: () => Promise.resolve(record('00')) };
    await expect(new JoinTokenAttestor(wrong).attest(Buffer.from(token), context())).rejects.toThrow(
      /never made here/,
    );
  });

  test.each([
    '',
    'ijt_',
    `ijt_${'A'.repeat(42)}`,
    `ijt_${'A'.repeat(44)}`,
    `ijt_${'A'.repeat(43)}.`,
    `ijt_${'A'.repeat(43)}.${'g'.repeat(32)}`,
    `x ijt_${'A'.repeat(43)}`,
    `ijt_${'A'.repeat(43)}\n`,
    'A'.repeat(100_000),
  ])('a text that is none is refused without being repeated (%#)', async (text) => {
    const attest = new JoinTokenAttestor(tokens()).attest(Buffer.from(text), context());
    await expect(attest).rejects.toMatchObject({
      code: 'invalid_token',
      message: expect.not.stringContaining('AAAA'),
    });
  });
});

describe('an attested agent', () => {
  test.each([
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    '..',
    'a/../b',
    '.',
    'a b',
    'ä',
    'a\n',
    'a/b/c/d/e/f/g/h/i',
    'x'.repeat(1025),
  ])('is not called %j', (name) => {
    const attested = { name, selectors: [], claims: {}, reattestable: true };
    expect(() => attestedAgent('example.org', 'oidc', attested)).toThrow(
      expect.objectContaining({ code: 'invalid_identity' }),
    );
  });

  test('an attestor that is not there is named with those that are', () => {
    const known = new Map([['join_token', new JoinTokenAttestor(tokens())]]);
    expect(() => attestorNamed(known, 'tpm')).toThrow('no attestor is called "tpm" here: use join_token');
    expect(() => attestorNamed(new Map(), '__proto__')).toThrow(/none is set up/);
  });
});
