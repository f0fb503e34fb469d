import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { main } from '../../cli.ts';
import { Terminal } from '../../terminal.ts';
import { junitReport, xmlText } from './junit.ts';
import { policyTestJsonSchema } from './schema.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-test-'));
  file('cart.yaml', POLICY);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const CART = 'spiffe://example.org/ns/shop/sa/cart';
const WEB = 'spiffe://example.org/ns/shop/sa/web';
const POLICY = `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: ${CART} }
  rules:
    - { name: web, from: [ { workload: ${WEB} } ], to: [ { http: { methods: [ GET ], paths: [ "/items/{id}" ] }, ports: [ 80 ] } ] }
    - { name: beta, from: [ { workload: ${WEB} } ], to: [ { http: { paths: [ /beta ] } } ], when: 'request.headers["x-beta"] == "1"' }
`;
const TEST = (spec: string) => `apiVersion: interlock.dev/v1alpha1
kind: PolicyTest
metadata: { name: cart }
spec:
${spec}`;
const one = (name: string, path: string, expected: string, more = '') =>
  `    - { name: "${name}", from: "${WEB}", to: "${CART}", action: { http: { method: GET, path: "${path}" }, port: 80 }, expect: ${expected}${more} }\n`;

const recorded = (path: string, more: object = {}) =>
  `${JSON.stringify({
    from: WEB,
    to: CART,
    action: { kind: 'http', port: 80, method: 'GET', path },
    views: ['observed'],
    evidence: { count: 3 },
    ...more,
  })}\n`;

function file(path: string, content: string): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), content);
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await main(['test', dir, ...args], { terminal: new Terminal(out, err, {}), now: Date.now });
  out.end();
  err.end();
  return { code, out: await text(out), err: (await text(err)).replaceAll('\n', ' ') };
}

async function outcomes(...args: string[]) {
  const { code, out } = await run('--json', ...args);
  return { code, ...JSON.parse(out) };
}

describe('cases', () => {
  test('pass and fail, with the nearest rule and the field that did not match', async () => {
    file(
      'cart.test.yaml',
      TEST(
        `  cases:\n${one('reads', '/items/1', 'allow', ', by: web')}${one('reads all', '/items', 'allow')}${one('by another', '/items/1', 'allow', ', by: beta')}`,
      ),
    );
    const { code, out } = await run();
    expect(code).toBe(1);
    expect(out).toContain('FAIL cart.test.yaml: cart: reads all');
    expect(out.replaceAll(/\s+/g, ' ')).toContain(
      'expected allow, got deny. Denied: no rule allows GET /items :80. The nearest is rule "web" of policy "cart", but its path is /items/{id}, not /items.',
    );
    expect(out).toContain('expected allow by rule "beta"');
    expect(out).toContain('3 tests: 1 passed, 2 failed.');
  });

  test('say what conditions look at, and are denied for what they do not say only where that is meant', async () => {
    const given = one('beta', '/beta', 'allow', ', by: cart/beta, headers: { X-Beta: "1" }');
    const known = one('no beta', '/beta', 'deny', ', headers: {}');
    const unknown = one('not said', '/beta', 'deny');
    file('cart.test.yaml', TEST(`  cases:\n${given}${known}${unknown}`));
    const { code, outcomes: list } = await outcomes();
    expect(code).toBe(1);
    expect(list.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['passed', 'passed', 'failed']);
  });

  test('about a workload that no policy protects fail', async () => {
    file('cart.test.yaml', TEST(`  cases:\n${one('reads', '/', 'allow').replace(CART, `${CART}2`)}`));
    expect((await run()).out).toContain('no policy here protects');
  });

  test('may stand beside policies in one file, or in a directory of their own', async () => {
    file('cart.yaml', `${POLICY}---\n${TEST(`  cases:\n${one('reads', '/items/1', 'allow')}`)}`);
    expect(await outcomes()).toMatchObject({ code: 0, passed: 1 });
    const own = mkdtempSync(join(tmpdir(), 'interlock-test-'));
    expect(await outcomes('--policies', own)).toMatchObject({ code: 1, failed: 1 });
    rmSync(own, { recursive: true });
  });

  test('that are a link are not passed over, and what else is left out is said', async () => {
    file('cart.test.yaml', TEST(`  cases:\n${one('reads', '/items/1', 'allow')}`));
    symlinkSync('cart.yaml', join(dir, 'deny.yaml'));
    const { code, err } = await run();
    expect([code, err]).toEqual([0, expect.stringContaining('Left out: deny.yaml, a symbolic link')]);
    symlinkSync('cart.test.yaml', join(dir, 'more.test.yaml'));
    const linked = await run();
    expect([linked.code, linked.err]).toEqual([
      1,
      expect.stringContaining('more.test.yaml is a symbolic link'),
    ]);
  });

  test('with a key given twice, or very many keys, are refused in the time that their length costs', async () => {
    file('cart.test.yaml', TEST(`  cases: []\n  cases: []\n`));
    expect((await run()).err).toMatch(/cart\.test\.yaml:6: key "cases" is given twice/);
    const keys = Array.from({ length: 100_000 }, (_, i) => `  k${i}:\n`).join('');
    file('cart.test.yaml', TEST(keys));
    expect((await run()).code).toBe(1);
  }, 60_000);

  test('none at all is no success', async () => {
    const { code, err } = await run();
    expect(code).toBe(1);
    expect(err).toContain('there is no PolicyTest below');
    file('cart.test.yaml', 'replicas: 3\n');
    expect((await run()).err).toContain('cart.test.yaml holds no PolicyTest');
    file('cart.test.yaml', TEST('  cases: []\n'));
    expect((await run()).err).toContain('neither a case nor a recording');
  });
});

test('policies behind very many blank lines are read in the time that their length costs, a mistake in its line', async () => {
  const named = (i: number) => POLICY.replace('name: cart }', `name: p${i} }`);
  const many = '\n'.repeat(100_000) + Array.from({ length: 300 }, (_, i) => named(i)).join('---\n');
  file('many.yaml', many);
  file('cart.test.yaml', TEST(`  cases:\n${one('reads', '/items/1', 'allow')}`));
  expect((await run()).code).toBe(0);
  file('many.yaml', `${many}---\n${POLICY.replace('rules:', 'rulez:')}`);
  expect((await run()).err).toMatch(/many\.yaml:102706: .*rulez/);
}, 60_000);

describe('a recording', () => {
  const SPEC = (except = '') => TEST(`  recordings:\n    - file: seen.jsonl\n${except}`);

  test('has to be allowed, except for what is denied on purpose', async () => {
    file('t/cart.test.yaml', SPEC());
    const outside = recorded('/', { to: 'spiffe://example.org/ns/shop/sa/mail' });
    const never = recorded('/never', { evidence: { count: 0 } });
    const declared = recorded('/declared', { views: ['declared'] });
    file('t/seen.jsonl', recorded('/items/7') + recorded('/admin') + outside + never + declared);
    expect(await outcomes()).toMatchObject({ code: 1, tests: 3, passed: 1, failed: 1, skipped: 1 });
    expect((await run()).out).toContain('observed, and denied.');
    const except = (path: string) =>
      `      except:\n        - { from: "${WEB}", path: ${path}, why: a scanner }\n`;
    file('t/cart.test.yaml', SPEC(except('/admin')));
    expect(await outcomes()).toMatchObject({ code: 0, passed: 2 });
    // What is excepted and allowed is a hole, or out of date.
    file('t/cart.test.yaml', SPEC(except('/items/7')));
    expect((await run()).out).toContain('excepted (a scanner), and allowed.');
    file('t/cart.test.yaml', SPEC(except('/gone')));
    expect((await run()).out).toMatch(/nothing in the recording is excepted by it/);
  });

  test('of which nothing is judged fails', async () => {
    file('cart.test.yaml', SPEC());
    file('seen.jsonl', '');
    expect((await run()).out).toContain('it holds no access that a policy here decides about');
  });

  test.each([
    ['no JSON', 'hello\n', /seen\.jsonl:1: the line is not JSON/],
    ['something else', `${recorded('/')}{"from": 3}\n`, /seen\.jsonl:2: no access, "from"/],
    ['a prototype', '{"__proto__": {"from": "x"}}\n', /seen\.jsonl:1: no access/],
  ])('that holds %s is refused with its line', async (_, content, said) => {
    file('cart.test.yaml', SPEC());
    file('seen.jsonl', content);
    const { code, err } = await run();
    expect(code).toBe(1);
    expect(err).toMatch(said);
  });

  test('is read from the directory of the tests alone', async () => {
    const secret = mkdtempSync(join(tmpdir(), 'interlock-secret-'));
    writeFileSync(join(secret, 'seen.jsonl'), 'root:x:0:0\n');
    file('cart.test.yaml', SPEC());
    symlinkSync(join(secret, 'seen.jsonl'), join(dir, 'seen.jsonl'));
    expect((await run()).err).toMatch(/is not below the directory of the tests/);
    file('cart.test.yaml', SPEC().replace('seen.jsonl', '../../../../../../../../etc/passwd'));
    expect((await run()).err).not.toContain('root');
    rmSync(secret, { recursive: true });
  });
});

describe('a report', () => {
  test('is XML whatever stands in names, and says what failed', async () => {
    const name = 'a \\"<b>&\\u0000\\u001b]]> c';
    file(
      'cart.test.yaml',
      TEST(`  cases:\n${one(name, '/items', 'allow')}${one('ok', '/items/1', 'allow')}`),
    );
    const report = join(dir, 'out', 'junit.xml');
    expect((await run('--junit', report)).code).toBe(1);
    const xml = readFileSync(report, 'utf8');
    expect(xml).toContain('<testsuites name="interlock" tests="2" failures="1" errors="0">');
    expect(xml).toContain('name="a &quot;&lt;b&gt;&amp;\\u0000\\u001b]]&gt; c"');
    expect(xml).not.toContain(']]>');
    expect(wellFormed(xml)).toEqual(['testsuites', 'testsuite', 'testcase', 'failure', 'testcase']);
  });

  test('has the elements and attributes that the schema of Jenkins knows, with all that it asks for', () => {
    const suite = { suite: 'a.test.yaml: cart' };
    const xml = junitReport([
      { ...suite, name: 'one', outcome: 'passed' },
      { ...suite, name: 'two', outcome: 'failed', why: 'no rule' },
      { ...suite, name: 'three', outcome: 'skipped', why: 'nobody protects it' },
      { suite: 'b.test.yaml: pay', name: 'four', outcome: 'passed' },
    ]);
    // Of junit-10.xsd: by element, what it may hold, and which attributes it must and may have.
    const shape: Record<string, { in: string; must: string[]; may: string[] }> = {
      testsuites: { in: '', must: [], may: ['name', 'time', 'tests', 'failures', 'errors'] },
      testsuite: {
        in: 'testsuites',
        must: ['name', 'tests', 'failures', 'errors'],
        may: ['skipped', 'time', 'timestamp', 'hostname', 'id', 'package', 'file', 'log', 'url', 'group'],
      },
      testcase: { in: 'testsuite', must: ['name'], may: ['time', 'classname', 'group'] },
      failure: { in: 'testcase', must: [], may: ['type', 'message'] },
      skipped: { in: 'testcase', must: [], may: ['type', 'message'] },
    };
    const open: string[] = [''];
    for (const [, end, name = '', attributes = '', empty] of xml.matchAll(
      /<(\/?)([a-z]+)((?: [a-z]+="[^"<]*")*)(\/?)>/g,
    )) {
      if (end === '/') {
        open.pop();
        continue;
      }
      const known = shape[name];
      expect(known?.in, name).toBe(open.at(-1));
      const given = [...attributes.matchAll(/ ([a-z]+)=/g)].map(([, attribute = '']) => attribute);
      expect(new Set(given).size).toBe(given.length);
      for (const attribute of given)
        expect([...(known?.must ?? []), ...(known?.may ?? [])], name).toContain(attribute);
      for (const attribute of known?.must ?? []) expect(given, name).toContain(attribute);
      if (empty !== '/') open.push(name);
    }
    expect(open).toEqual(['']);
    expect(xml).toContain(
      '<testsuite name="a.test.yaml: cart" tests="3" failures="1" errors="0" skipped="1">',
    );
  });

  test('is not written through a link', async () => {
    file('cart.test.yaml', TEST(`  cases:\n${one('reads', '/items/1', 'allow')}`));
    file('precious', 'kept');
    symlinkSync('precious', join(dir, 'results.xml'));
    const { code, err } = await run('--junit', join(dir, 'results.xml'));
    expect([code, err]).toEqual([1, expect.stringContaining('is a symbolic link')]);
    expect(readFileSync(join(dir, 'precious'), 'utf8')).toBe('kept');
  });

  test('holds no character that XML has not', () => {
    const all = Array.from({ length: 0x10000 }, (_, unit) => String.fromCharCode(unit)).join('');
    const escaped = xmlText(all);
    // XML 1.0, section 2.2: Char.
    expect(escaped).toMatch(/^[\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u);
    expect(escaped).not.toMatch(/[<>"']|&(?!amp;|lt;|gt;|quot;|apos;|#\d+;)/);
    // A pair of surrogates is a character.
    expect(xmlText('😀')).toBe('😀');
    expect(wellFormed(junitReport([{ suite: all, name: all, outcome: 'failed', why: all }]))).toHaveLength(4);
  });
});

/** The names of the elements in order, of a document that is well-formed. */
function wellFormed(xml: string): string[] {
  const names: string[] = [];
  const open: string[] = [];
  const rest = xml.replace(/^<\?xml version="1.0" encoding="UTF-8"\?>\n/, '');
  let at = 0;
  for (const match of rest.matchAll(/([^<]*)<(\/?)([a-z]+)((?: [a-z]+="[^"<]*")*)(\/?)>/g)) {
    if (match.index !== at) throw new Error(`no element at ${rest.slice(at, at + 80)}`);
    at += match[0].length;
    const [, , end, name = '', , empty] = match;
    if (end === '/') expect(open.pop()).toBe(name);
    else {
      names.push(name);
      if (empty !== '/') open.push(name);
    }
  }
  expect(rest.slice(at)).toBe('\n');
  expect(open).toEqual([]);
  return names;
}

describe('a hostile test', () => {
  test.each([
    ['an alias', '  cases: &a [*a]\n', /alias|Unresolved|Aliased/],
    ['a key that nobody knows', `  cases:\n${one('x', '/', 'allow', ', port: 80')}`, /Unrecognized key/],
    [
      'an action without a port',
      `  cases:\n${one('x', '/', 'allow').replace(', port: 80', '')}`,
      /cases\.0\.action/,
    ],
    ['no identity', `  cases:\n${one('x', '/', 'allow').replace(WEB, 'http://x')}`, /cases\.0\.from/],
    [
      'an exception for all',
      '  recordings: [ { file: a, except: [ { why: x } ] } ]\n',
      /names a caller or a callee/,
    ],
    ['brackets without an end', `  cases: ${'['.repeat(20_000)}\n`, /not valid YAML|too deep/],
  ])('%s is refused with file and line', async (_, spec, said) => {
    file('cart.test.yaml', TEST(spec));
    const { code, err } = await run();
    expect(code).toBe(1);
    expect(err).toMatch(/^interlock: cart\.test\.yaml:\d+: /);
    expect(err).toMatch(said);
  });
});

test('the schema for editors describes the documents', () => {
  expect(policyTestJsonSchema()).toMatchObject({
    properties: { kind: { const: 'PolicyTest' }, spec: { properties: { cases: { type: 'array' } } } },
  });
});
