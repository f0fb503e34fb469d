import { createHmac, timingSafeEqual } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { newSecret, secretBytes, signedHeaders } from './sign.ts';

/** A receiver, as the standard says it verifies; docs/notifications.md has the same. */
function isGenuine(
  secret: string,
  headers: Readonly<Record<string, string | undefined>>,
  body: string,
  nowSeconds: number,
): boolean {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures = '' } = headers;
  if (Math.abs(nowSeconds - Number(timestamp)) > 300) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest();
  return signatures.split(' ').some((each) => {
    const [version, text = ''] = each.split(',');
    const given = Buffer.from(text, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const bytesOf = (text: string) => secretBytes(text) ?? Buffer.alloc(0);

describe('a signature', () => {
  test('is that of the published test of Standard Webhooks', () => {
    const headers = signedHeaders([bytesOf('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')], {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      now: 1_614_265_330_000,
      body: '{"test": 2432232314}',
    });
    expect(headers).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('is verified by a receiver with any of the secrets, and by nobody else', () => {
    const [old, fresh, other] = [newSecret(), newSecret(), newSecret()];
    const body = '{"a":1}';
    const headers = signedHeaders([bytesOf(old), bytesOf(fresh)], { id: 'msg_1', now: 1000_000, body });
    expect([old, fresh, other].map((secret) => isGenuine(secret, headers, body, 1000))).toEqual([
      true,
      true,
      false,
    ]);
    expect(isGenuine(old, headers, '{"a":2}', 1000)).toBe(false);
    expect(isGenuine(old, { ...headers, 'webhook-id': 'msg_2' }, body, 1000)).toBe(false);
    expect(isGenuine(old, { ...headers, 'webhook-timestamp': '1001' }, body, 1000)).toBe(false);
    expect(isGenuine(old, headers, body, 1400)).toBe(false);
  });
});

test.each([
  ['whsec_ and 32 bytes', newSecret(), 32],
  ['any 24 bytes', 'x'.repeat(24), 24],
  ['any 64 bytes', 'x'.repeat(64), 64],
])('a secret of %s is taken', (_, text, length) => {
  expect(secretBytes(text)?.length).toBe(length);
});

test.each([
  ['nothing', ''],
  ['the prefix alone', 'whsec_'],
  ['23 bytes', 'x'.repeat(23)],
  ['65 bytes', 'x'.repeat(65)],
  ['what is no base64', `whsec_${'?'.repeat(40)}`],
  ['16 encoded bytes', `whsec_${Buffer.alloc(16).toString('base64')}`],
])('a secret of %s is refused', (_, text) => {
  expect(secretBytes(text)).toBeUndefined();
});
