import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realTimers } from '../timers.ts';
import { type TestHttp, testHttp } from './testing.test-helper.ts';
import { TrustedProxies } from './trusted-proxies.ts';

const PROXY = '10.0.0.1';
const trusted = new TrustedProxies(['10.0.0.0/8', '192.0.2.7', 'fd00::/8']);
const by = (list: string | undefined, forwarded?: string, peer = PROXY) =>
  trusted.callerOf(peer, { list, forwarded });

describe('whom a call comes from', () => {
  test('is the other end of the connection, unless that is a proxy which is trusted', () => {
    expect(new TrustedProxies().callerOf(PROXY, { list: '198.51.100.1' })).toBe(PROXY);
    expect(by('198.51.100.1', undefined, '203.0.113.9')).toBe('203.0.113.9');
    expect(by(undefined, 'for=198.51.100.1', '203.0.113.9')).toBe('203.0.113.9');
    expect(by(undefined)).toBe(PROXY);
    expect(by('198.51.100.1', undefined, '::ffff:10.0.0.1')).toBe('198.51.100.1');
    expect(by('198.51.100.1', undefined, '')).toBe('');
  });

  test.each([
    ['198.51.100.1', '198.51.100.1'],
    ['1.2.3.4, 198.51.100.1', '198.51.100.1'],
    ['1.2.3.4,198.51.100.1 , 10.9.9.9,192.0.2.7', '198.51.100.1'],
    ['198.51.100.1:4711', '198.51.100.1'],
    ['::ffff:198.51.100.1', '198.51.100.1'],
    ['::ffff:c633:6401', '198.51.100.1'],
    ['2001:db8::1', '2001:0db8:0000:0000:0000:0000:0000:0001'],
    ['[2001:db8::1]', '2001:0db8:0000:0000:0000:0000:0000:0001'],
    ['198.51.100.9, [2001:db8::1]:443', '2001:0db8:0000:0000:0000:0000:0000:0001'],
    ['198.51.100.1, fd00::5', '198.51.100.1'],
    // Nothing but proxies: the farthest of them.
    ['10.1.1.1, 10.2.2.2', '10.1.1.1'],
    // What a proxy hides, or what is no address, is not looked through.
    ['198.51.100.1, unknown', PROXY],
    ['198.51.100.1, unknown, 10.2.2.2', '10.2.2.2'],
    ['198.51.100.1, 010.0.0.1', PROXY],
    ['198.51.100.1,', PROXY],
    ['198.51.100.1, 2001:db8::1%eth0', PROXY],
    ['198.51.100.1, 10.0.0.1/8', PROXY],
    ['198.51.100.1, [2001:db8::1', PROXY],
    ['198.51.100.1, 10.2.2.2:99999999', PROXY],
    ['', PROXY],
    [`${'1.2.3.4, '.repeat(100_000)}198.51.100.1`, '198.51.100.1'],
    [Array.from({ length: 1000 }, () => '10.3.3.3').join(','), '10.3.3.3'],
  ])('by X-Forwarded-For %.40s is %s', (list, caller) => {
    expect(by(list)).toBe(caller);
  });

  test.each([
    ['for=198.51.100.1', '198.51.100.1'],
    ['for=1.2.3.4;proto=http, For="198.51.100.1:80";by=10.0.0.1 ; host=x', '198.51.100.1'],
    ['for="[2001:db8::1]:4711"', '2001:0db8:0000:0000:0000:0000:0000:0001'],
    ['for=198.51.100.1, for=10.5.5.5', '198.51.100.1'],
    ['for=198.51.100.1, for=_hidden', PROXY],
    ['for=198.51.100.1, by=10.0.0.2', PROXY],
    ['for=198.51.100.1, for=unknown', PROXY],
    // A quote that the caller leaves open swallows what the proxy has added: nothing is believed.
    ['for="1.2.3.4, for=198.51.100.1', PROXY],
    ['for=1.2.3.4;x=", for="[2001:db8::1]"', PROXY],
    ['for=1.2.3.4;x="\\", for=198.51.100.1', PROXY],
    ['for==1.2.3.4', PROXY],
    [`${'\t'.repeat(4000)}@`, PROXY],
    ['for=1.2.3.4 \t; proto=http , for=198.51.100.1 ', '198.51.100.1'],
    ['for=1.2.3.4 for=198.51.100.1', PROXY],
    [`for=1.2.3.4;x="${'\\"'.repeat(100_000)}`, PROXY],
  ])('by Forwarded %.40s is %s', (forwarded, caller) => {
    expect(by(undefined, forwarded)).toBe(caller);
  });

  test('is the proxy where two headers say different things: it writes one of them, and the caller the other', () => {
    expect(by('198.51.100.1', 'for=1.2.3.4')).toBe(PROXY);
    expect(by('1.2.3.4', 'for=198.51.100.1')).toBe(PROXY);
    expect(by('198.51.100.1', 'for="198.51.100.1:80"')).toBe('198.51.100.1');
  });
});

test('a proxy that is trusted is one by any spelling of its address, and none where none is named', () => {
  for (const address of ['10.255.0.1', '::ffff:10.0.0.1', '192.0.2.7', 'fd12::1', 'FD00:0:0::1'])
    expect([address, trusted.isTrusted(address)]).toEqual([address, true]);
  for (const address of ['11.0.0.1', '192.0.2.8', 'fe00::1', '', 'x', '10.0.0.1:80'])
    expect([address, trusted.isTrusted(address)]).toEqual([address, false]);
  expect(new TrustedProxies().isTrusted('10.0.0.1')).toBe(false);
});

test.each(['everyone', '10.0.0.0/33', '10.0.0.1/8', '0.0.0.0/0', '::/0', '', 'fe80::1%eth0'])(
  'no proxy is named by "%s"',
  (range) => {
    expect(() => new TrustedProxies([range])).toThrow(expect.objectContaining({ code: 'usage' }));
  },
);

describe('behind a reverse proxy', () => {
  let plane: TestHttp;
  beforeAll(async () => {
    // All of it in one moment: the limits are by the minute.
    const now = Date.now();
    plane = await testHttp({ trustedProxies: ['127.0.0.1'] }, { timers: { ...realTimers, now: () => now } });
  });
  afterAll(() => plane.close());
  const guess = async (caller?: string) => {
    const headers = caller === undefined ? {} : { 'x-forwarded-for': caller };
    const answer = await plane.browser().post('/v1/sign-in/link', { secret: 'A'.repeat(43) }, headers);
    await answer.body?.cancel();
    return answer.status;
  };

  test('who guesses is told to wait, and nobody else is, whatever he says of himself', async () => {
    const statuses = [];
    for (let i = 0; i < 12; i++) statuses.push(await guess(`203.0.113.${i}, 198.51.100.1`));
    expect([statuses[0], statuses.at(-1)]).toEqual([401, 429]);
    expect(await guess('198.51.100.2')).toBe(401);
    expect(await guess()).toBe(401);
  });

  test('headers that are too large are refused', async () => {
    const headers = { 'x-forwarded-for': '1.2.3.4, '.repeat(3000) };
    const answer = await fetch(`${plane.origin}/v1/sign-in`, { headers });
    await answer.body?.cancel();
    expect(answer.status).toBe(431);
  });
});
