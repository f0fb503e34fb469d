import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { main } from './cli.ts';
import { Terminal } from './terminal.ts';

test('an error as JSON prints nothing that a terminal would act on', async () => {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const file = '/no/such/\u009b2J\u202efile.pem';
  const code = await main(['identity', 'verify', file, '--json'], {
    terminal: new Terminal(out, err, {}),
    now: Date.now,
  });
  err.end();
  const said = String(err.read());
  expect(code).toBe(1);
  expect(said.trimEnd()).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  expect(JSON.parse(said)).toMatchObject({ error: { subject: file } });
});
