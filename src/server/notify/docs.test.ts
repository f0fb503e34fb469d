import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { NOTICE_TYPES } from '../../api/index.ts';
import { newSecret, secretBytes, signedHeaders } from './sign.ts';

const text = readFileSync(new URL('../../../docs/notifications.md', import.meta.url), 'utf8');

test('the receiver of docs/notifications.md takes what is signed, and nothing else', async () => {
  const code = /```js\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
  const { isGenuine } = (await import(
    /* @vite-ignore */ `data:text/javascript,${encodeURIComponent(code)}`
  )) as { isGenuine: (secret: string, headers: Readonly<Record<string, string>>, body: string) => boolean };
  const secret = newSecret();
  const body = '{"id":"msg_1"}';
  const sign = (now: number) =>
    signedHeaders([secretBytes(secret) ?? Buffer.alloc(0)], { id: 'msg_1', now, body });
  const headers = sign(Date.now());
  expect(isGenuine(secret, headers, body)).toBe(true);
  expect(isGenuine(newSecret(), headers, body)).toBe(false);
  expect(isGenuine(secret, headers, `${body} `)).toBe(false);
  expect(isGenuine(secret, sign(Date.now() - 3_600_000), body)).toBe(false);
  expect(isGenuine(secret, { ...headers, 'webhook-signature': '' }, body)).toBe(false);
  expect(isGenuine(secret, {}, body)).toBe(false);
});

test('docs/notifications.md names every event', () => {
  expect(NOTICE_TYPES.filter((type) => type !== 'test' && !text.includes(`\`${type}\``))).toEqual([]);
});
