import { expect, test } from 'vitest';
import { bytesOf, joined } from './joined.ts';

test.each([
  [[]],
  [['a']],
  [['a', 'b']],
  [['x'.repeat(70_000)]],
  [['x'.repeat(70_000), 'é', 'y'.repeat(70_000)]],
])('texts are joined with commas between them, however long they are (%#)', (texts: string[]) => {
  const steps = joined(texts, (text) => text);
  let step = steps.next();
  let count = 0;
  for (; step.done !== true; step = steps.next()) count++;
  expect(new TextDecoder().decode(bytesOf([step.value]))).toBe(texts.join(','));
  expect(count).toBe(texts.length);
});
