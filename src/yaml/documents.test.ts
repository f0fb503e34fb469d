import { LineCounter } from 'yaml';
import { describe, expect, test } from 'vitest';
import { MOST_FAULTS, type YamlDocument, yamlDocuments, YamlTooMuch } from './index.ts';

const LIMITS = { depth: 32, pieces: 10_000_000, documents: 10_000_000 };

function read(text: string, limits: Partial<typeof LIMITS> = {}): YamlDocument[] {
  return [...yamlDocuments(text, new LineCounter(), { ...LIMITS, ...limits })];
}

/** How a text ends, and in which line. */
function ending(text: string, limits: Partial<typeof LIMITS> = {}): string {
  const lines = new LineCounter();
  try {
    const faults = [...yamlDocuments(text, lines, { ...LIMITS, ...limits })].flatMap((each) => each.faults);
    return faults.map(({ what, offset }) => `${lines.linePos(offset).line} ${what}`).join('; ');
  } catch (error) {
    if (!(error instanceof YamlTooMuch)) throw error;
    return `${error.limit} in line ${lines.linePos(error.offset).line}`;
  }
}

describe('the documents of a text', () => {
  test('are as they stand there, each with its directives', () => {
    const text = '%YAML 1.2\n---\na: 1 # one\n...\n# between\n---\n- b\n--- |\n c\n---\n';
    expect(read(text).map(({ document }) => document?.toJS())).toEqual([{ a: 1 }, ['b'], 'c\n', null]);
    expect(read('')).toEqual([]);
    expect(read('# nothing\n\n')).toEqual([]);
  });

  test('say every fault with its line, twenty at most, and the rest is not read', () => {
    expect(ending('a: b: c\nd: @\n')).toMatch(/^1 Nested mappings .*; 2 Plain value cannot start/);
    expect(read('- @\n'.repeat(1000))[0]?.faults).toHaveLength(MOST_FAULTS);
    expect(read(']'.repeat(1000)).flatMap(({ faults }) => faults)).toHaveLength(MOST_FAULTS);
    expect(ending('a\n... b\n')).toContain('2 Unexpected text behind the end of a document');
    expect(ending('%A b\n')).toMatch(/directive/i);
    expect(ending('%YAML 1.2\n')).toBe('1 A directive without a document');
  });

  test('beyond a limit are refused where it is passed', () => {
    expect(ending('a: 1\n---\nb: 2\n---\nc: 3\n', { documents: 2 })).toBe('documents in line 4');
    expect(ending('\n'.repeat(1000), { pieces: 100 })).toBe('pieces in line 101');
    expect(ending(`a:\n  ${'['.repeat(33)}`)).toBe('depth in line 2');
    expect(ending(`a: ${'['.repeat(32)}${']'.repeat(32)}`)).toBe('');
    expect(ending('- '.repeat(500_000))).toBe('depth in line 1');
    expect(ending('? '.repeat(500_000))).toBe('depth in line 1');
    expect(ending(Array.from({ length: 400 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''))).toMatch(/^depth/);
  });
});

/** Texts of about this length. */
const HOSTILE: Readonly<Record<string, (size: number) => string>> = {
  'blank lines': (n) => '\n'.repeat(n),
  'lines of a blank': (n) => ' \r\n'.repeat(n / 3),
  comments: (n) => `a:\n${'  # c\n'.repeat(n / 6)}b: 1\n`,
  documents: (n) => '---\n'.repeat(n / 4),
  directives: (n) => '%YAML 1.2\n---\n'.repeat(n / 14),
  'brackets of nothing': (n) => '] ['.repeat(n / 3),
  'brackets within brackets': (n) => `- ${'['.repeat(31)}${']'.repeat(31)}\n`.repeat(n / 65),
  commas: (n) => `[${','.repeat(n)}]`,
  'keys without an end': (n) => '  a:\n b:\n'.repeat(n / 9),
  'anchors and aliases': (n) => '- &a [*a]\n'.repeat(n / 10),
  'a text of many lines': (n) => `a: >\n${'  x\n\n'.repeat(n / 5)}`,
  'a text in quotes': (n) => `"${'\\\n \t'.repeat(n / 4)}"`,
  'a text without an end': (n) => `'${"''\n".repeat(n / 3)}`,
  'a long line': (n) => `a: ${'b '.repeat(n / 2)}`,
};

/** Microseconds of this thread alone. */
function cost(text: string): number {
  const before = process.threadCpuUsage();
  try {
    read(text);
  } catch (error) {
    if (!(error instanceof YamlTooMuch)) throw error;
  }
  const { user, system } = process.threadCpuUsage(before);
  return user + system;
}

test.each(Object.entries(HOSTILE))('eight times as long, %s cost no more than their length', (_, make) => {
  const [short, long] = [make(10_000), make(80_000)];
  cost(short);
  // What grows with the square costs 64 times as much. A machine that is busy may spoil one measurement, and not five.
  const ratios = [];
  for (let i = 0; i < 5; i++) {
    ratios.push(cost(long) / Math.max(200, cost(short)));
    if (ratios.some((ratio) => ratio < 24)) return;
  }
  expect(ratios).toEqual([]);
});
