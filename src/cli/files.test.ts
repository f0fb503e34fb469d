import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { OutFiles, writeFiles } from './files.ts';

const dir = mkdtempSync(join(tmpdir(), 'interlock-files-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('files named after outside names', () => {
  test('keep a usual name as it is', () => {
    expect(new OutFiles().add('shop', 'cart-service.v2', '.yaml', '')).toBe('shop.cart-service.v2.yaml');
  });

  test.each([
    ['..', '..'],
    ['../../etc', 'x'],
    ['shop', '../../../x'],
    ['/etc', 'passwd'],
    ['C:\\x', 'y'],
    ['-rf', '.ssh'],
    ['a\nb\u0000', '\u202egnp'],
    ['', ''],
    ['x'.repeat(300), 'y'.repeat(300)],
  ])('%j and %j become one plain file', (namespace, name) => {
    const file = new OutFiles().add(namespace, name, '.yaml', '');
    expect(file).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.yaml$/);
  });

  test('are never one file for two things, whatever the names are', () => {
    const out = new OutFiles();
    const names = [
      ['a.b', 'c'],
      ['a', 'b.c'],
      ['A', 'b.c'],
      ['a/b', 'c'],
      ['a-b', 'c'],
      ['a', 'b.c'],
    ] as const;
    for (const [namespace, name] of names) out.add(namespace, name, '.yaml', `${namespace} ${name}`);
    // Whoever foresees the name that a changed one gets cannot take its place.
    const changed = new OutFiles().add('shop', 'my cart', '.yaml', '');
    out.add('shop', changed.slice('shop.'.length, -'.yaml'.length), '.yaml', 'first');
    out.add('shop', 'my cart', '.yaml', 'second');
    expect(out.files.size).toBe(names.length + 2);
    expect(new Set([...out.files.keys()].map((file) => file.toLowerCase())).size).toBe(names.length + 2);
  });
});

describe('writing files', () => {
  test.each(['../x', '/tmp/x', 'a/../../x', 'a//b', '..\\x', 'a\u001b[2J'])(
    'refuses %j, which is no file below the directory, and writes nothing',
    (name) => {
      const out = join(dir, 'out');
      expect(() =>
        writeFiles(
          out,
          new Map([
            ['good', ''],
            [name, ''],
          ]),
        ),
      ).toThrow(/nothing was written/);
      expect(existsSync(out)).toBe(false);
    },
  );

  test('makes the directories in between', () => {
    writeFiles(dir, new Map([['a/b.yaml', 'x']]));
    expect(readdirSync(join(dir, 'a'))).toEqual(['b.yaml']);
  });
});
