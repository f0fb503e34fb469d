import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hashOf } from './hash.ts';
import { PathTree } from './path-tree.ts';
import { matchTemplate, type PathTemplate, parseTemplate, templatesOverlap } from './template.ts';

function read(text: string): PathTemplate {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new Error(`${text}: ${parsed.reason}`);
  return parsed.template;
}

const literal = fc.constantFrom('a', 'b', 'c');
const segments = (item: fc.Arbitrary<string>) => fc.array(item, { minLength: 1, maxLength: 4 });
const templateArb = fc
  .tuple(segments(fc.oneof(literal, fc.constant('{}'))), fc.constantFrom('', '', '/', '/{rest=**}'))
  .map(([parts, end]) =>
    read(`/${parts.map((part, i) => (part === '{}' ? `{p${i}}` : part)).join('/')}${end}`),
  );
const pathArb = fc
  .tuple(segments(literal), fc.constantFrom('', '/'))
  .map(([parts, end]) => `/${parts.join('/')}${end}`);

describe('path templates', () => {
  test.each([
    ['/a/{', 'neither a literal'],
    ['/a/}', 'neither a literal'],
    ['/a/{}', 'neither a literal'],
    ['/a/x{id}', 'neither a literal'],
    ['/a/{id}x', 'neither a literal'],
    ['/a/{id=*}', 'neither a literal'],
    ['/a/{b c}', 'neither a literal'],
    ['/a/{x=**}/b', 'must be last'],
    ['/a//b', '//'],
    ['/a/../b', 'normal form'],
    ['/a/%61', 'normal form'],
    ['/a/.', 'normal form'],
    ['/a%2Fb', 'escaped slash'],
    ['/a?b=c', 'query'],
    ['/a#b', '#'],
    ['/a b', 'it holds " "'],
    ['a/b', 'does not start'],
    ['*', 'does not start'],
    ['', 'does not start'],
    ['/\u00e4', 'outside ASCII'],
    [`/${'a'.repeat(9000)}`, 'longer than'],
  ])('refuses %j', (text, reason) => {
    const parsed = parseTemplate(text);
    expect(parsed.ok ? '' : parsed.reason).toContain(reason);
  });

  test('the tree finds exactly the templates that match one by one', () => {
    let hits = 0;
    fc.assert(
      fc.property(
        fc.uniqueArray(templateArb, { maxLength: 12, selector: ({ text }) => text }),
        pathArb,
        (templates, path) => {
          const tree = new PathTree();
          let next = 0;
          const targets = new Map(
            templates.map((template) => [tree.target(template, () => next++), template.text]),
          );
          const found: number[] = [];
          const count = tree.find(path, found);
          const expected = templates
            .filter((template) => matchTemplate(template, path))
            .map(({ text }) => text);
          expect(
            found
              .slice(0, count)
              .map((target) => targets.get(target))
              .toSorted(),
          ).toEqual(expected.toSorted());
          hits += count;
        },
      ),
      { numRuns: 1000 },
    );
    expect(hits).toBeGreaterThan(300);
  });

  test('a segment with the hash of another is not taken for it', () => {
    const byHash = new Map<number, string>();
    let pair: [string, string] | undefined;
    for (let i = 0; pair === undefined; i++) {
      const text = `s${i.toString(36)}`;
      const other = byHash.get(hashOf(text));
      if (other !== undefined) pair = [other, text];
      byHash.set(hashOf(text), text);
    }
    const [first, second] = pair;
    const tree = new PathTree();
    const found: number[] = [];
    expect(tree.target(read(`/${first}`), () => 7)).toBe(7);
    expect(tree.find(`/${first}`, found)).toBe(1);
    expect(tree.find(`/${second}`, found)).toBe(0);
    expect(tree.target(read(`/${second}`), () => 8)).toBe(8);
    expect([tree.find(`/${second}`, found), found[0]]).toEqual([1, 8]);
    expect([tree.find(`/${first}`, found), found[0]]).toEqual([1, 7]);
  });

  test('overlap exactly where some path matches both', () => {
    let overlaps = 0;
    fc.assert(
      fc.property(templateArb, templateArb, (a, b) => {
        const length = Math.max(a.segments.length, b.segments.length) + 1;
        const shared = Array.from({ length }, (_, i) => a.segments[i] ?? b.segments[i] ?? 'z');
        const paths = [0, 1, 2].flatMap((n) => {
          const head = shared.slice(0, length - n);
          return [`/${head.join('/')}`, `/${[...head.slice(0, -1), ''].join('/')}`];
        });
        const both = paths.some((path) => matchTemplate(a, path) && matchTemplate(b, path));
        if (both) overlaps++;
        expect(templatesOverlap(a, b), `${a.text} ${b.text}`).toBe(both);
      }),
      { numRuns: 1000 },
    );
    expect(overlaps).toBeGreaterThan(100);
  });
});
