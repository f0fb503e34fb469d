import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { yamlText } from './yaml.ts';

describe('written YAML', () => {
  test('is the same data in YAML 1.1 and 1.2, whatever the texts are', () => {
    const texts = [
      'no',
      'on',
      '1_000',
      '12:30:45',
      '0777',
      '<<',
      '2020-01-01',
      '~',
      'a: b',
      'a\u2028b: c',
      '- x',
      '#',
    ];
    for (const text of texts) {
      const data = { [text]: text, list: [text] };
      for (const version of ['1.1', '1.2'] as const) {
        expect(parse(yamlText(data), { version })).toEqual(data);
      }
    }
  });

  test('shows what would reorder, hide or act, and keeps lines apart', () => {
    const data = { a: 'x\u202egnp', b: 'a\u200bb\nc', '\u009b2J': '\u001b[2J', c: 'one\ntwo\n' };
    const text = yamlText(data);
    expect(text).not.toMatch(/[^\P{C}\n]/u);
    expect(text).toContain('c: |\n  one\n  two\n');
    expect(parse(text)).toEqual(data);
  });
});
