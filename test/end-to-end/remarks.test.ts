import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { WIDTH } from '../../src/cli/terminal.ts';
import { interlock, scratch } from './run.ts';

// What a person meets who uses the commands for the first time: slips of the hand, pipes, and missing manifests.
const dir = scratch();
const state = ['--state', join(dir, 'state')];
const policies = join(dir, 'policies');
const example = (name: string) => new URL(`../../examples/shop/${name}`, import.meta.url).pathname;

function fits(text: string): void {
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(WIDTH);
}

beforeAll(async () => {
  const files = [example('manifests.yaml'), example('access.jsonl.gz')];
  const { code } = await interlock('observe', ...files, '--trust-domain', 'shop.example', ...state);
  expect(code).toBe(0);
  await interlock('propose', '--out', policies, ...state);
});

describe('what is wrong', () => {
  test('is said within the width, by the parser of the command line as by the commands', async () => {
    const bad = await interlock('observe', 'x', '--format', 'a-format-that-nobody-knows');
    expect(bad.err).toMatch(/^interlock: option '--format <format>'/);
    fits(bad.err);
    const foreign = join(dir, 'notes.txt');
    writeFileSync(foreign, 'some notes of mine, which are no recording\n');
    const failed = await interlock('observe', foreign, '--state', join(dir, 'empty'));
    expect(failed.code).toBe(1);
    expect(failed.err).toMatch(/^interlock: /);
    fits(failed.err);
    expect(failed.out).not.toMatch(/THE STATE NOW/);
  });

  test('an id that names no doubt or no blind spot is named, and is no error', async () => {
    const proposed = await interlock('propose', '--accept', 'nonesuch', 'all', ...state);
    expect(proposed.code).toBe(0);
    expect(proposed.err).toMatch(/--accept: there is no doubt with the id nonesuch here/);
    const judged = await interlock('readiness', '--acknowledge', 'nonesuch', ...state);
    expect(judged.code).toBe(0);
    expect(judged.err).toMatch(/--acknowledge: there is no blind spot with the id "nonesuch" here/);
  });

  test('a proposal for a workload that nothing names is refused', async () => {
    const { code, err } = await interlock('propose', '--to', 'spiffe://shop.example/ns/a/sa/b', ...state);
    expect(code).toBe(1);
    expect(err).toMatch(/no recording or manifest names the workload/);
  });
});

describe('observe', () => {
  const files = [example('manifests.yaml'), example('access.jsonl.gz')];

  test('says where one workload is known in two trust domains, and how to have one', async () => {
    const other = ['--trust-domain', 'example.org', '--state', join(dir, 'other')];
    const { code, out } = await interlock('observe', ...files, ...other);
    expect(code).toBe(0);
    expect(out).toMatch(/identities +15: 8 in trust domain example\.org, 7 in others/);
    expect(out.replaceAll(/\s+/g, ' ')).toMatch(
      /ANOTHER TRUST DOMAIN: shop\.example shop\/\S+, .* and 4 more are known in shop\.example and in example\.org.*--trust-domain shop\.example --state DIR/,
    );
    fits(out);
  });

  test('says nothing of it where all are of one', async () => {
    const { out } = await interlock('observe', ...files, ...state);
    expect(out).toMatch(/identities +8 in trust domain shop\.example/);
    expect(out).not.toMatch(/ANOTHER TRUST DOMAIN/);
  });
});

describe('propose', () => {
  test('prints documents alone to its output, doubts and remarks beside it', async () => {
    const { out, err } = await interlock('propose', ...state);
    const documents = parseAllDocuments(out);
    expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
    expect(documents.map((document) => document.get('kind'))).toEqual(Array(6).fill('AccessPolicy'));
    expect(err).toMatch(/DOUBTS, not made into rules: 2/);
  });

  test('a doubt in the list begins with its id and its caller', () => {
    const text = readFileSync(join(policies, 'doubts.yaml'), 'utf8');
    expect(text).toMatch(/^- id: \w+\n {2}from: /m);
  });

  test('says that nothing can be proposed where addresses are all that is known, and observe says what to do', async () => {
    const log = join(dir, 'addresses.json');
    const line = {
      start_time: '2026-11-01T00:00:00.000Z',
      method: 'GET',
      path: '/',
      protocol: 'HTTP/1.1',
      response_code: 200,
      response_flags: '-',
      downstream_remote_address: '10.0.0.1:4000',
      downstream_local_address: '10.0.0.2:8080',
      upstream_host: '10.0.0.2:8081',
    };
    writeFileSync(log, `${JSON.stringify(line)}\n`);
    const observed = await interlock('observe', log, '--state', join(dir, 'addresses'));
    expect(observed.out).toMatch(/NO CALL HAS A CALLER OR A CALLEE WITH A NAME/);
    const { err } = await interlock('propose', '--state', join(dir, 'addresses'));
    expect(err).toMatch(/No policy can be proposed/);
  });
});

describe('render', () => {
  const kubernetes = ['render', policies, '--engine', 'kubernetes', ...state];

  test('names every loss that it refuses, and writes nothing', async () => {
    const { code, out, err } = await interlock(...kubernetes);
    expect(code).toBe(1);
    expect(out).toBe('');
    expect(err).toMatch(/WIDER \(http-on-l4\)/);
    expect(err).toMatch(/WIDER \(label-not-identity\)/);
    fits(err);
  });

  test('says once what holds of every workload', async () => {
    const { err } = await interlock(
      'render',
      policies,
      '--engine',
      'istio',
      '--state',
      join(dir, 'addresses'),
    );
    expect(err.match(/\(labels-assumed\)/g)).toHaveLength(1);
    expect(err).toMatch(/Likewise\s5\sothers\.\sIn:\s/);
  });

  test('warns of identities that nobody holds only where the engine asks for identities', async () => {
    const wide = await interlock(...kubernetes, '--allow-wider', 'http-on-l4', 'label-not-identity');
    expect(wide.code).toBe(0);
    expect(wide.err).not.toMatch(/BEFORE YOU APPLY THEM/);
    fits(wide.err);
    const envoy = await interlock('render', policies, '--engine', 'envoy', ...state);
    expect(envoy.err).toMatch(/BEFORE YOU APPLY THEM/);
  });
});

test('identities says how its files are applied', async () => {
  const { out } = await interlock('identities', '--out', join(dir, 'accounts'), ...state);
  expect(out).toMatch(/kubectl apply -f '.*accounts\/\*\.serviceaccount\.yaml'/);
  expect(out).toMatch(/kubectl patch -f "\$f" --patch-file "\$f"/);
});
