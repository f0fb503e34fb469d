import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { auditResult, lockFaults } from '../scripts/dependencies.ts';

const good = { license: 'MIT', integrity: 'sha512-x' };

describe('the lock file', () => {
  test('names packages of the registry alone, with checksums, under licences that were agreed to', () => {
    const lock = JSON.parse(
      readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'),
    ) as Parameters<typeof lockFaults>[0];
    expect(Object.keys(lock.packages).length).toBeGreaterThan(100);
    expect(lockFaults(lock)).toEqual([]);
  });

  test.each([
    ['another licence', { ...good, license: 'GPL-3.0-only' }, 1],
    ['no licence', { integrity: good.integrity }, 1],
    ['two licences that both hold', { ...good, license: '(MIT AND GPL-3.0-only)' }, 1],
    ['a licence to choose', { ...good, license: '(GPL-2.0 OR BSD-3-Clause)' }, 0],
    ['another licence in development', { ...good, license: 'MPL-2.0', dev: true }, 0],
    ['no checksum', { license: 'MIT' }, 1],
    ['another place', { ...good, resolved: 'git+ssh://git@evil.example/a.git' }, 1],
  ])('with a package of %s', (_, locked, faults) => {
    expect(lockFaults({ packages: { '': {}, 'node_modules/a': locked } })).toHaveLength(faults);
  });
});

test('no script has the name of an event by which npm would run it', () => {
  const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    scripts: Readonly<Record<string, string>>;
  };
  const events = ['dependencies', 'install', 'prepare', 'publish', 'shrinkwrap', 'uninstall', 'version'];
  const started = new Set(events.flatMap((event) => [event, `pre${event}`, `post${event}`]));
  expect(Object.keys(scripts).filter((name) => started.has(name))).toEqual([]);
});

describe('the answer of the registry', () => {
  test('counts what is grave', () => {
    const report = {
      vulnerabilities: { a: { severity: 'high' }, b: { severity: 'low' }, c: { severity: 'critical' } },
      metadata: { vulnerabilities: { low: 1, high: 1, critical: 1 } },
    };
    expect(auditResult(JSON.stringify(report))).toEqual({ grave: 2, names: ['a', 'c'] });
    expect(auditResult('{"metadata":{"vulnerabilities":{"low":3}}}')).toEqual({ grave: 0, names: [] });
  });

  test.each([
    '',
    'not json',
    '{"message":"405 Method Not Allowed","statusCode":405}',
    '{"error":{"code":"ENOTFOUND"}}',
  ])('%j is none', (output) => {
    expect(auditResult(output)).toBeUndefined();
  });
});
