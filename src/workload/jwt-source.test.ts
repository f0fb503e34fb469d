import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type InterlockError, parseSpiffeId } from '../access/index.ts';
import type { JWTSVIDRequest } from '../proto/index.ts';
import { BundleSource } from './bundle-source.ts';
import { JwtSource } from './jwt-source.ts';
import { readOwnJwtSvid } from './jwt-svid.ts';
import { FakeWorkloadApi, TestAuthority, TestClock } from './testing.ts';

let dir: string;
let api: FakeWorkloadApi;
let clock: TestClock;
let root: TestAuthority;
let errors: InterlockError[];
let asked: JWTSVIDRequest[];
const opened: { close(): void }[] = [];
const web = parseSpiffeId('spiffe://example.org/web');

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'jwt-'));
  api = await new FakeWorkloadApi(join(dir, 'agent.sock')).start();
  clock = new TestClock();
  root = new TestAuthority('example.org', { now: clock.now });
  errors = [];
  asked = [];
  api.set({ svids: [], bundles: [root.bundle()] });
  api.tokens = (request) => {
    asked.push(request);
    const path = request.spiffeId === '' ? '/web' : new URL(request.spiffeId).pathname;
    return {
      spiffeId: parseSpiffeId(`spiffe://example.org${path}`),
      svid: root.token(path, request.audience),
    };
  };
});

afterEach(() => {
  for (const one of opened.splice(0)) one.close();
  api.stop();
  rmSync(dir, { recursive: true });
});

async function open(): Promise<JwtSource> {
  const onError = (error: InterlockError) => errors.push(error);
  const source = await JwtSource.open({ endpoint: api.endpoint, clock, onError });
  opened.push(source);
  return source;
}

describe('a JwtSource', () => {
  it('fetches a token for an audience, which validates by the bundles it holds', async () => {
    const source = await open();
    const svid = await source.fetchJwtSvid('db');
    expect(svid).toMatchObject({ spiffeId: web, audience: ['db'] });
    expect(await source.validate(svid.token, 'db')).toMatchObject({ spiffeId: web });
    await expect(source.validate(svid.token, 'cache')).rejects.toMatchObject({ fault: 'audience' });
    clock.advance(600_000);
    await expect(source.validate(svid.token, 'db')).rejects.toMatchObject({ fault: 'expired' });
  });

  it('judges by the newest bundles', async () => {
    const source = await open();
    const { token } = await source.fetchJwtSvid('db');
    const updated = new Promise((resolve) => source.onUpdate(resolve));
    api.set({ svids: [], bundles: [] });
    await updated;
    await expect(source.validate(token, 'db')).rejects.toMatchObject({ fault: 'no_bundle' });
  });

  it('keeps a token until half of its life is over', async () => {
    const source = await open();
    const first = await source.fetchJwtSvid(['cache', 'db', 'db']);
    expect(await source.fetchJwtSvid(['db', 'cache'])).toBe(first);
    clock.advance(149_000);
    expect(await source.fetchJwtSvid(['db', 'cache'])).toBe(first);
    clock.advance(2_000);
    expect(await source.fetchJwtSvid(['db', 'cache'])).not.toBe(first);
    expect(asked.map(({ audience }) => audience)).toEqual([
      ['cache', 'db'],
      ['cache', 'db'],
    ]);
  });

  it('keeps tokens of other audiences and subjects apart', async () => {
    const source = await open();
    const other = parseSpiffeId('spiffe://example.org/other');
    const tokens = [
      await source.fetchJwtSvid('a'),
      await source.fetchJwtSvid('b'),
      await source.fetchJwtSvid(['a', 'b']),
      await source.fetchJwtSvid('a', other),
    ];
    expect(new Set(tokens.map(({ token }) => token)).size).toBe(4);
    expect(tokens[3]?.spiffeId).toBe(other);
  });

  it('asks once for many who want the same token at the same time', async () => {
    const source = await open();
    await Promise.all(Array.from({ length: 20 }, () => source.fetchJwtSvid('db')));
    expect(asked).toHaveLength(1);
  });

  it('uses the old token to its end while the agent does not give a new one', async () => {
    const source = await open();
    const first = await source.fetchJwtSvid('db');
    api.refusal = { code: status.UNAVAILABLE, details: 'busy' };
    clock.advance(200_000);
    expect(await source.fetchJwtSvid('db')).toBe(first);
    expect(errors).toEqual([expect.objectContaining({ code: 'unavailable' })]);
    clock.advance(200_000);
    await expect(source.fetchJwtSvid('db')).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('asks anew for a token whose key left the bundle, and gives the old one to nobody', async () => {
    const source = await open();
    const old = root;
    const kept = new TestAuthority('example.org', { now: clock.now });
    const authorities = (...all: TestAuthority[]) => ({
      ...old.bundle(),
      jwtAuthorities: all.flatMap((each) => each.bundle().jwtAuthorities),
    });
    api.set({ svids: [], bundles: [authorities(old, kept)] });
    const first = await source.fetchJwtSvid('db');
    const updated = new Promise((resolve) => source.onUpdate(resolve));
    root = kept;
    const second = await source.fetchJwtSvid('cache');
    api.set({ svids: [], bundles: [authorities(kept)] });
    await updated;
    api.refusal = { code: status.UNAVAILABLE, details: 'busy' };
    await expect(source.fetchJwtSvid('db')).rejects.toMatchObject({ code: 'unavailable' });
    expect(await source.fetchJwtSvid('cache')).toBe(second);
    api.refusal = undefined;
    const third = await source.fetchJwtSvid('db');
    expect([first.keyId, third.keyId]).toEqual([old.signer.keyId, kept.signer.keyId]);
  });

  it('asks anew for every token when told to, and keeps the old ones while the agent is away', async () => {
    const source = await open();
    const first = await source.fetchJwtSvid('db');
    source.renewAll();
    const second = await source.fetchJwtSvid('db');
    expect(second.token).not.toBe(first.token);
    expect(await source.fetchJwtSvid('db')).toBe(second);
    source.renewAll();
    api.refusal = { code: status.UNAVAILABLE, details: 'busy' };
    expect(await source.fetchJwtSvid('db')).toBe(second);
    expect(asked).toHaveLength(2);
  });

  it('takes no token that was asked for before it was told to renew all for a new one', async () => {
    const source = await open();
    const early = source.fetchJwtSvid('db');
    source.renewAll();
    const [first, second] = await Promise.all([early, source.fetchJwtSvid('db')]);
    expect(second.token).not.toBe(first.token);
    expect(await source.fetchJwtSvid('db')).toBe(second);
  });

  it('refuses a token of another than asked for', async () => {
    const source = await open();
    api.tokens = ({ audience }) => ({ spiffeId: web, svid: root.token('/web', audience) });
    const other = parseSpiffeId('spiffe://example.org/other');
    await expect(source.fetchJwtSvid('db', other)).rejects.toMatchObject({ code: 'invalid_token' });
    await expect(source.fetchJwtSvid([])).rejects.toMatchObject({ code: 'usage' });
    await expect(source.fetchJwtSvid('')).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('a token that the agent gave', () => {
  const claims = (value: object) => `e30.${Buffer.from(JSON.stringify(value)).toString('base64url')}.AA`;
  it.each([
    [{ sub: 'spiffe://example.org/other', aud: 'db', exp: 2_000 }, 'another identity'],
    [{ sub: web, aud: 'cache', exp: 2_000 }, 'not for the audience "db"'],
    [{ sub: web, exp: 2_000 }, 'not for the audience "db"'],
    [{ sub: web, aud: 'db' }, 'never expires'],
    [{ sub: web, aud: 'db', exp: 1_000 }, 'has expired'],
  ])('with the claims %j is refused', (value, why) => {
    const read = () =>
      readOwnJwtSvid(
        { $typeName: 'JWTSVID', spiffeId: web, svid: claims(value), hint: '' },
        ['db'],
        1_000_000,
      );
    expect(read).toThrow(why);
  });

  it.each(['', 'a.b', 'not a token', 'x'.repeat(20_000)])(
    'that is none is refused without being shown',
    (svid) => {
      const read = () => readOwnJwtSvid({ $typeName: 'JWTSVID', spiffeId: web, svid, hint: '' }, ['db'], 0);
      expect(read).toThrow(/is no JWT|larger than/);
    },
  );
});

describe('a BundleSource', () => {
  it('joins the authorities of both kinds, by domain, and follows their changes', async () => {
    const other = new TestAuthority('other.example');
    const revoked = root.svid('/web');
    api.set({ svids: [], bundles: [root.bundle(), other.bundle()], crls: [root.crl(revoked)] });
    const source = await BundleSource.open({ endpoint: api.endpoint, clock });
    opened.push(source);
    expect(source.bundles.get('example.org')).toEqual(root.bundle());
    expect(source.bundles.get('other.example')).toEqual(other.bundle());
    expect(source.crls.map(({ revoked: { size } }) => size)).toEqual([1]);
    api.set({ svids: [], bundles: [other.bundle()] });
    for await (const { bundles, crls } of source) if (bundles.size === 1 && crls.length === 0) break;
    expect([...source.bundles.keys()]).toEqual(['other.example']);
  });

  it('waits only for the kinds that are wanted', async () => {
    const source = await BundleSource.open({ endpoint: api.endpoint, clock, kinds: ['jwt'] });
    opened.push(source);
    expect(source.bundles.get('example.org')).toMatchObject({ x509Authorities: [] });
    expect(api.calls.get('fetchX509Bundles')).toBeUndefined();
  });
});
