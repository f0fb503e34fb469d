import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { carryCondition } from '../../src/engines/envoy/condition.ts';
import { PATH_GUARD } from '../../src/engines/envoy/path-guard.ts';
import { normalizePath } from '../../src/policy/index.ts';
import { evaluateRules } from '../evaluators/envoy-rbac.ts';

const denied = (path: string, method = 'GET') =>
  !evaluateRules({ action: 'DENY', policies: { guard: PATH_GUARD } }, { port: 1, http: { method, path } })
    .allowed;

describe('the guard before all rules', () => {
  test('denies exactly the paths that are not in normal form already', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '/',
        '.',
        '..',
        ';',
        'a',
        '%2e',
        '%2F',
        '%41',
        '%5c',
        '%5b',
        '%00',
        '%7f',
        '%80',
        '%',
        '\\',
        '//',
        '~',
      ),
      fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
      fc.integer({ min: 0, max: 255 }).map((c) => `%${c.toString(16).padStart(2, '0')}`),
    );
    const seen = { denied: 0, passed: 0 };
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        // A filter never sees a query or fragment as part of url_path.
        const path = `/${pieces.join('')}`.replace(/[?#]/g, '');
        const normal = normalizePath(path);
        const clean = normal.ok && normal.path === path;
        expect(denied(path), path).toBe(!clean);
        seen[clean ? 'passed' : 'denied']++;
      }),
      { numRuns: 3000 },
    );
    expect(Math.min(seen.denied, seen.passed)).toBeGreaterThan(200);
  });

  test('lets only OPTIONS ask for the asterisk', () => {
    expect(denied('*', 'OPTIONS')).toBe(false);
    expect(denied('*')).toBe(true);
  });
});

describe('a condition for Envoy', () => {
  test.each([
    'request.method == "GET"',
    '!request.path.contains("x") && destination.port >= 1024',
    'request.host.startsWith("api.") || source.address.endsWith(":1")',
  ])('that no request makes fail keeps its place in a deny rule: %s', (text) => {
    expect(carryCondition(text)).toMatchObject({ ok: true, total: true });
  });

  test.each([
    'request.headers["x-env"] == "prod"',
    'source.principal == "spiffe://e.org/a"',
    'request.method in ["GET"]',
    'request.method == "GET" || request.headers["a"] == "b"',
    'request.method == 1',
  ])('that may fail is known to: %s', (text) => {
    expect(carryCondition(text)).toMatchObject({ ok: true, total: false });
  });

  test.each([
    ['request.method.matches("G.*")', 'it uses matches'],
    ['[1].all(x, x == 1)', 'it uses a macro, a map or a type'],
    ['string(destination.port) == "1"', 'it uses string'],
    ['request.host + "x" == "hx"', 'it uses _+_'],
    ['destination.port == 1.0', 'it holds a constant that is no string, integer or boolean'],
    ['request.headers["X-Env"] == "prod"', 'it asks for headers other than by a plain name in lower case'],
    ['request.headers[":path"] == "/"', 'it asks for headers other than by a plain name in lower case'],
    ['"host" in request.headers', 'it asks for headers other than by a plain name in lower case'],
    [
      'request.headers["x-forwarded-proto"] == "https"',
      'it asks for a header that Envoy itself writes or removes',
    ],
    ['"x-request-id" in request.headers', 'it asks for a header that Envoy itself writes or removes'],
    ['request.headers["x-envoy-x"] == "a"', 'it asks for a header that Envoy itself writes or removes'],
    ['size(request.headers) == 0', 'it asks for headers other than by a plain name in lower case'],
  ])('that Envoy would read in another way is not carried: %s', (text, reason) => {
    expect(carryCondition(text)).toEqual({ ok: false, reason });
  });

  test("asks for the peer's URI by Envoy's name", () => {
    const carried = carryCondition('source.principal == "x"');
    expect(JSON.stringify(carried)).toContain('"field":"uri_san_peer_certificate"');
  });
});
