import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { Provider } from './provider.ts';
import { startProvider, type TestProvider } from './provider.test-helper.ts';

let server: TestProvider;
let timers: ManualTimers;
let provider: Provider;
beforeEach(async () => {
  server = await startProvider();
  server.allow('http://127.0.0.1/back');
  timers = new ManualTimers();
  const config = { issuer: server.issuer, clientId: 'interlock', scopes: ['openid'], groupsClaim: 'groups' };
  provider = new Provider(config, undefined, timers);
});
afterEach(() => server.close());

const begin = () => provider.begin('http://127.0.0.1/back');

test('many who begin at once ask the provider for its settings once, and again after an hour', async () => {
  await Promise.all(Array.from({ length: 20 }, begin));
  expect(server.asked).toHaveLength(1);
  await timers.advance(3_599_999);
  await begin();
  expect(server.asked).toHaveLength(1);
  await timers.advance(1);
  await Promise.all([begin(), begin()]);
  expect(server.asked).toHaveLength(2);
});

test('a provider that does not answer as it should is asked once in five seconds, however many begin', async () => {
  server.refuse();
  const all = await Promise.allSettled(Array.from({ length: 20 }, begin));
  expect(all.every(({ status }) => status === 'rejected')).toBe(true);
  await expect(begin()).rejects.toMatchObject({ code: 'unavailable' });
  expect(server.asked).toHaveLength(1);
  await timers.advance(5000);
  await expect(begin()).rejects.toMatchObject({ code: 'unavailable' });
  expect(server.asked).toHaveLength(2);
  server.allow('http://127.0.0.1/back');
  await timers.advance(5000);
  expect((await begin()).url.origin).toBe(server.issuer);
});

test('settings that were good are used while the provider is away', async () => {
  await begin();
  server.refuse();
  await timers.advance(3_600_000);
  expect((await begin()).url.origin).toBe(server.issuer);
  expect((await begin()).url.origin).toBe(server.issuer);
  expect(server.asked).toHaveLength(2);
});
