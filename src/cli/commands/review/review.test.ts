import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  accessAt,
  cart,
  reporterOf,
  reportOf,
} from '../../../server/enforcement/evidence/evidence.test-helper.ts';
import { type TestApi, testApi } from '../../../server/api/testing.test-helper.ts';
import { realTimers } from '../../../server/timers.ts';
import { Terminal } from '../../terminal.ts';
import { HISTORY_COMMANDS, REVIEW_COMMANDS } from './index.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
  const now = realTimers.now();
  const changed = new Promise<void>((resolve) => api.serving.api.estate.onChange(resolve));
  const http = (path: string, ok: bigint) =>
    accessAt(now - 1000, { action: { kind: 'http', port: 80, name: 'GET', text: path }, ok });
  await api.serving.enforcing.evidence.take(
    reporterOf(),
    reportOf(1, { accesses: [http('/items', 5n), http('/once', 1n)] }),
  );
  await changed;
  await api.serving.api.reviews.refresh(cart);
});
afterAll(() => api.close());

/** What a command prints, as a pipe gets it. */
async function run(name: string, args: string[], options: object = {}): Promise<string> {
  const command = [...REVIEW_COMMANDS, ...HISTORY_COMMANDS].find((each) => each.name === name);
  if (command === undefined) throw new TypeError(`there is no command "${name}"`);
  const out = new PassThrough();
  const terminal = new Terminal(out, out, {});
  const given = { state: api.state, ...options };
  // A command takes the options that it names.
  const code = await command.run({ terminal, now: () => realTimers.now() }, args, given as never);
  expect(code).toBe(0);
  out.end();
  return text(out);
}

test('a review is listed, shown, approved, edited and told of afterwards', async () => {
  expect(await run('review list', [])).toMatch(/sa\/cart +standard +- +1 +0 +1 +0/);
  const shown = await run('review show', [cart]);
  expect(shown).toContain('GET /items :80');
  expect(shown).toContain('seen once');
  expect(shown).toContain(`interlock review approve ${cart} --all`);
  expect(await run('review approve', [cart], { all: true })).toMatch(
    /Approved: 1 change\.\ntarget \w+: 1 of 1 approval/,
  );
  const doubt = /^([0-9a-f]{8}) .*\/once/m.exec(await run('review show', [cart]))?.[1] ?? '';
  expect(await run('review ask', [cart, 'who', 'is', 'that?'], { about: doubt })).toBe(
    'Asked: nobody is named as its owner yet.\n',
  );
  await expect(run('review reject', [cart, doubt.slice(0, 3)], { reason: 'x' })).rejects.toMatchObject({
    code: 'usage',
  });
  expect(await run('review reject', [cart, doubt], { reason: 'a scanner' })).toBe('Rejected: 1.\n');
  const yaml = await run('review show', [cart], { yaml: true });
  const file = join(api.state, 'cart.yaml');
  writeFileSync(file, yaml.replace('/items', '/wares'));
  expect(await run('review edit', [cart, file])).toContain('0 of 1 approval (nobody)');
  // The file says what it was made from, and that is over.
  writeFileSync(file, yaml.replace('/items', '/others'));
  await expect(run('review edit', [cart, file])).rejects.toMatchObject({ code: 'conflict' });
  const history = await run('policy history', [cart]);
  const done = ['review.edit', 'review.reject', 'review.ask', 'review.approve', 'review.open'];
  expect(history.split('\n').flatMap((line) => done.filter((act) => line.includes(act)))).toEqual(done);
  expect(api.faults).toEqual([]);
});

test('nothing that is not open can be decided', async () => {
  await expect(run('review approve', [cart, '00000000'])).rejects.toMatchObject({ code: 'not_found' });
  await expect(run('review deny', [cart, '00000000'], { reason: 'x' })).rejects.toMatchObject({
    code: 'not_found',
  });
});
