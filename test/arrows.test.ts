import { describe, expect, test } from 'vitest';
import { importsOf, sourceFiles, wrongArrows, wrongBeside } from '../scripts/arrows.ts';

const wrong = (path: string, ...imports: string[]) => wrongArrows([{ path, imports }]);

describe('arrows between rooms', () => {
  test('the sources have no import that runs the wrong way', () => {
    const files = sourceFiles(new URL('../src', import.meta.url).pathname);
    expect(files.length).toBeGreaterThan(20);
    expect(wrongArrows(files)).toEqual([]);
  });

  test.each([
    ['access/graph.ts', '../policy/index.ts', /access may not import policy/],
    ['policy/decide.ts', '../learning/index.ts', /policy may not import learning/],
    ['learning/propose.ts', '../rollout/index.ts', /learning may not import rollout/],
    ['policy/decide.ts', 'node:fs', /policy is pure/],
    ['access/tally.ts', 'zod', /access is pure/],
    ['sources/envoy/index.ts', '../istio/index.ts', /siblings in sources/],
    ['engines/envoy/index.ts', '../istio/rbac.ts', /siblings in engines/],
    ['engines/envoy/index.ts', '../../store/index.ts', /engines may not import store/],
    ['cli/cli.ts', '../access/tally.ts', /through its index.ts/],
    ['attic/x.ts', '../access/index.ts', /in no room/],
    ['cli/cli.ts', '../../bench/run.ts', /outside src/],
  ])('%s may not import %s', (path, specifier, message) => {
    expect(wrong(path, specifier)).toEqual([expect.stringMatching(message)]);
  });

  test.each([
    ['policy/decide.ts', '../access/index.ts'],
    ['policy/decide.ts', './types.ts'],
    ['policy/document.ts', 'zod'],
    ['sources/envoy/index.ts', '../accesslog/reader.ts'],
    ['sources/index.ts', './envoy/index.ts'],
    ['cli/cli.ts', 'node:fs'],
    ['learning/propose.test.ts', '../rollout/index.ts'],
  ])('%s may import %s', (path, specifier) => {
    expect(wrong(path, specifier)).toEqual([]);
  });

  test('the console takes of the sources what is listed, and no more', () => {
    const files = sourceFiles(new URL('../console', import.meta.url).pathname);
    expect(files.filter(({ path }) => path.endsWith('.tsx')).length).toBeGreaterThan(20);
    expect(wrongBeside('console', files)).toEqual([]);
    const path = 'src/map/index.tsx';
    const imports = [
      '../../../src/api/index.ts',
      '../parts/act.tsx',
      'react',
      '../../../src/server/index.ts',
    ];
    expect(wrongBeside('console', [{ path, imports }])).toEqual([
      expect.stringMatching('imports src/server/index.ts'),
    ]);
  });

  test('every form of import is seen', () => {
    const text = `import a from 'a';\nimport {\n  b,\n} from "b";\nexport * from './c.ts';\nimport 'd';\nconst e = await import('e');\nimport type { F } from 'f';`;
    expect(importsOf(text).toSorted()).toEqual(['./c.ts', 'a', 'b', 'd', 'e', 'f']);
  });
});
