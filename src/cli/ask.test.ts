import { Readable, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { askYes } from './ask.ts';
import { Terminal } from './terminal.ts';

test.each([
  ['y\n', true],
  [' Yes \n', true],
  ['n\n', false],
  ['\n', false],
  ['yesterday\n', false],
  ['', false],
])('the answer %j is %s', async (answer, is) => {
  let asked = '';
  const err = new Writable({
    write(chunk: Buffer, _, done) {
      asked += String(chunk);
      done();
    },
  });
  expect(
    await askYes(new Terminal(err, err, {}), 'Sure?', Readable.from(answer === '' ? [] : [answer])),
  ).toBe(is);
  expect(asked).toContain('Sure? [y/N]');
});
