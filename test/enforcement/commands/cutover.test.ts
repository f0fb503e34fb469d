import { expect, test } from 'vitest';
import { Commanded } from './commanded.ts';

const { run } = Commanded.use();

test('a cutover that was turned back says, when it is finished, that everybody is where they were', async () => {
  expect(await run('authority', 'prepare', '--name', 'b')).toMatchObject({ code: 0 });
  expect(await run('cutover', 'start', 'c', '--to', 'b', '--share', '10%')).toMatchObject({ code: 0 });
  const turned = await run('cutover', 'back', 'c');
  expect(turned.code).toBe(0);
  expect(turned.out).toMatch(/0 \(default\) +0 \(b\)|0 \(default\)[^]*0 \(b\)/);
  expect(await run('cutover', 'finish', 'c')).toEqual({
    code: 0,
    err: '',
    out: 'c has ended: everybody is where they were before it.\n',
  });
});
