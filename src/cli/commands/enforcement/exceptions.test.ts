import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { LOCAL, testApi } from '../../../server/api/testing.test-helper.ts';
import { realTimers } from '../../../server/timers.ts';
import { Terminal } from '../../terminal.ts';
import { POLICY_COMMANDS } from './policy.ts';

const DAY = 86_400_000;

test('policy list --exceptions says what ends, whose it is, when and why', async () => {
  const api = await testApi();
  try {
    const start = realTimers.now();
    const run = async (options: object = {}) => {
      const command = POLICY_COMMANDS.find(({ name }) => name === 'policy list');
      if (command === undefined) throw new TypeError('there is no such command');
      const out = new PassThrough();
      const given = { state: api.state, exceptions: true, ...options };
      // A command takes the options that it names.
      await command.run({ terminal: new Terminal(out, out, {}), now: () => start }, [], given as never);
      out.end();
      return text(out);
    };
    expect(await run()).toBe('No rule has an end.\n');
    const rules = [1.5, -2, 400].map(
      (days, i) =>
        `{ name: r${i}, from: [ { workload: spiffe://example.org/old } ], to: [ { tcp: {} } ], until: "${new Date(start + days * DAY).toISOString()}", reason: ticket ${i} }`,
    );
    const yaml = `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec: { protects: { workload: spiffe://example.org/cart }, rules: [ ${rules.join(', ')} ] }
`;
    const applied = await api.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml }) });
    expect(applied.status).toBe(200);
    const lines = (await run()).trimEnd().split('\n');
    expect(lines.map((line) => /cart\/r\d/.exec(line)?.[0])).toEqual([
      undefined,
      'cart/r1',
      'cart/r0',
      'cart/r2',
    ]);
    expect(lines[1]).toMatch(/over, 2d ago +target +- +ticket 1/);
    expect(lines[2]).toMatch(/in 1d 12h +target +- +ticket 0/);
    expect(JSON.parse(await run({ json: true }))).toMatchObject({
      exceptions: [{ rule: 'r1', over: true }, { rule: 'r0', over: false }, { rule: 'r2' }],
    });
  } finally {
    await api.close();
  }
});
