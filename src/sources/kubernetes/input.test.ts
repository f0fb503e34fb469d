import { describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { container, deployment, json, livePod, read, service } from './fixtures.ts';
import { source } from './index.ts';

function refusalOf(text: string | Buffer): InterlockError | undefined {
  try {
    read(text);
  } catch (error) {
    return error instanceof InterlockError ? error : undefined;
  }
  return undefined;
}

/** A Service as YAML. */
const yaml = (name: string) => `apiVersion: v1\nkind: Service\nmetadata:\n  name: ${name}\n`;

describe('input', () => {
  test('is YAML of many documents, JSON, a list, a list without kinds, or JSON one a line', () => {
    const names = (text: string | Buffer) =>
      read(text)
        .facts.map((f) => (f.fact === 'service' ? f.name : f.fact))
        .toSorted();
    expect(names(`# first\n${yaml('a')}---\n\n--- # second\n${yaml('b')}...\n---\nnull\n`)).toEqual([
      'a',
      'b',
    ]);
    expect(names(`\uFEFF%YAML 1.2\n---\n${yaml('a').replaceAll('\n', '\r\n')}`)).toEqual(['a']);
    expect(names(json(service('a'), service('b')))).toEqual(['a', 'b']);
    expect(names(JSON.stringify([service('a'), json()]).replace(/"\{.*\}"/, 'null'))).toEqual(['a']);
    expect(names(`${JSON.stringify(service('a'))}\n${JSON.stringify(service('b'))}\n`)).toEqual(['a', 'b']);
    expect(names(`${JSON.stringify(service('a'), null, 2)}\n${json(service('b'))}`)).toEqual(['a', 'b']);
    const { kind: _kind, apiVersion: _version, ...bare } = service('a');
    expect(names(JSON.stringify({ kind: 'ServiceList', apiVersion: 'v1', items: [bare] }))).toEqual(['a']);
    expect(names('{apiVersion: v1, kind: Service, metadata: {name: a}}')).toEqual(['a']);
    expect(names(Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(yaml('a'), 'utf16le')]))).toEqual([
      'a',
    ]);
  });

  test('that is broken in one document loses that document, and says where it is', () => {
    const result = read(`${yaml('a')}---\napiVersion: v1\nkind: Service\n  bad: [\n---\n${yaml('b')}`);
    expect(result.facts).toHaveLength(2);
    expect(result.tally).toMatchObject({ read: 3, accepted: 2 });
    expect(result.skips).toHaveLength(1);
    expect(result.skips[0]).toMatch(/^1 x broken YAML @[78]: /);
    const lines = read(
      `${JSON.stringify(service('a'))}\n{"apiVersion":"v1","ki\n${JSON.stringify(service('b'))}`,
    );
    expect(lines.facts).toHaveLength(2);
    expect(lines.skips[0]).toMatch(/^1 x broken JSON @2: /);
    const helm = read(`${yaml('a')}---\nname: {{ .Values.x }}\nb: {{- if }}\n`);
    expect(helm.skips[0]).toMatch(/template, not a manifest/);
  });

  test.each([
    [
      'Service: spec.ports[].port is not a port number',
      { ...service('x'), spec: { ports: [{ port: 70_000 }] } },
    ],
    ['Service: spec.ports[].port is not a number', { ...service('x'), spec: { ports: [{ port: '80' }] } }],
    ['Service: spec.ports is not a list', { ...service('x'), spec: { ports: {} } }],
    [
      'Service: spec.selector holds a value that is not text',
      { ...service('x'), spec: { selector: { app: 1 } } },
    ],
    ['Service: spec is not an object', { ...service('x'), spec: 'x' }],
    ['Service: metadata.name is missing', { ...service('x'), metadata: {} }],
    ['Service: metadata.name is not a name', { ...service('x'), metadata: { name: 'a\u001b[31m' } }],
    ['Service: metadata is not an object', { ...service('x'), metadata: [] }],
    ['Deployment: spec.template.spec.containers is missing', deployment('x', {})],
    ['Deployment: spec.template.spec.containers[] is not an object', deployment('x', { containers: [1] })],
    [
      'Deployment: spec.template.spec.containers[].env[].value is not text',
      deployment('x', { containers: [container({ env: [{ name: 'A', value: 1 }] })] }),
    ],
    [
      'Deployment: spec.template.spec.hostNetwork is not true or false',
      deployment('x', { hostNetwork: 'yes', containers: [container()] }),
    ],
    ['Pod: status.startTime is not a time', livePod('x', {}, { startTime: 'yesterday' })],
    [
      'ConfigMap: data holds a value that is not text',
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' }, data: { a: {} } },
    ],
    [
      'kind not used: Ingress (networking.k8s.io)',
      { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: { name: 'x' } },
    ],
    [
      'kind not used: Service (serving.knative.dev)',
      { ...service('x'), apiVersion: 'serving.knative.dev/v1' },
    ],
    ['no apiVersion and kind: not a Kubernetes object', { metadata: { name: 'x' } }],
    ['not a Kubernetes object', 'x'],
  ])('is skipped and counted: %s', (reason, object) => {
    const result = read(json(service('good'), object));
    expect([...result.tally.skips()].map((s) => [s.reason, s.count])).toEqual([[reason, 1]]);
    expect(result.tally).toMatchObject({ read: 2, accepted: 1 });
    expect(result.facts).toHaveLength(1);
  });

  test('names the line of the document that an object was skipped in', () => {
    const { skips } = read(
      `${yaml('a')}---\n# comment\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: 7\n`,
    );
    expect(skips).toEqual(['1 x Service: spec is not an object @7: Service b']);
  });

  test.each([
    ['flow', `a: ${'['.repeat(100_000)}`],
    ['sequences', `${'- '.repeat(10_000)}x`],
    ['mappings', Array.from({ length: 2000 }, (_, i) => `${' '.repeat(i)}a:\n`).join('')],
    ['JSON', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
    [
      'aliases',
      `a: &a [x,x,x,x,x,x,x,x,x]\n${Array.from('bcdefghi')
        .map((c, i) => `${c}: &${c} [${`*${'abcdefgh'[i]},`.repeat(9)}]\n`)
        .join('')}`,
    ],
    ['many aliases', Array.from({ length: 20_000 }, (_, i) => `x${i}: &a${i} 1\ny${i}: *a${i}\n`).join('')],
    ['nothing but NUL', '\0'.repeat(1000)],
    ['a picture', Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')],
    ['a broken list', '{"apiVersion":"v1","kind":"List","items":[{"apiVersion":'],
  ])('that holds no object is refused: %s', (_, text) => {
    const refused = refusalOf(text);
    expect(refused?.code).toBe('invalid_recording');
    expect(refused?.message).toMatch(/it holds no Kubernetes object \(line \d+: .+\)/);
  });

  test('nested too deep in one object loses that object', () => {
    const deep: unknown = JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`);
    const result = read(json(service('a'), { ...service('b'), deep }));
    expect(result.skips).toEqual(['1 x Service: nested too deep @1: Service b']);
  });

  test('that is empty, or a list of nothing, gives nothing', () => {
    for (const text of ['', '\n', '---\n', '# nothing\n', json()]) {
      expect(read(text).tally).toMatchObject({ read: 0, accepted: 0 });
    }
  });

  test('names at most fifty unused kinds one by one', () => {
    const kinds = Array.from({ length: 80 }, (_, i) => ({
      apiVersion: 'x/v1',
      kind: `K${i}`,
      metadata: { name: 'n' },
    }));
    expect(read(json(...kinds)).skips).toHaveLength(51);
  });

  test('covers no time', () => {
    const { tally } = read(json(livePod('p', {})));
    expect([tally.firstSeen, tally.lastSeen]).toEqual([Infinity, -Infinity]);
  });
});

describe('detection', () => {
  test.each([
    [1, '# Copyright\n\napiVersion: v1\nkind: Service\n'],
    [1, 'apiVersion: v1\nitems:\n- apiVersion: v1\n'],
    [1, '{\n    "apiVersion": "v1",\n    "items": ['],
    [1, '{"kind":"Pod","apiVersion":"v1"}\n'],
    [1, '[{"metadata":{},"apiVersion":"v1"}]'],
    [0, '{"flow":{"time":"2026-01-01T00:00:00Z","verdict":"FORWARDED"}}'],
    [0, '{"resourceSpans":[]}'],
    [0, '{"start_time":"2026-01-01T00:00:00Z","method":"GET"}'],
    [0, '[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" 200'],
    [0, 'kind: x\n'],
    [0, ''],
  ])('%d for %j', (sure, head) => expect(source.detect(head)).toBe(sure));
});

describe('input that was made to cost much', () => {
  test('as a generated name of many hyphens is skipped: no name is that long', () => {
    const generated = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { generateName: `x${'-'.repeat(300_000)}x` },
    };
    expect(read(json(generated)).skips[0]).toMatch(/^1 x Service: metadata.generateName is not a name/);
    const usual = { ...generated, metadata: { generateName: 'job-' } };
    expect(read(json(usual)).facts).toMatchObject([{ name: 'job' }]);
  });

  test('as variables that refer to a long one is kept as it is written from 4 MiB on', () => {
    const env = [{ name: 'A', value: `${'x'.repeat(30_000)} a:1` }];
    for (let i = 0; i < 400; i++) env.push({ name: `B${i}`, value: '$(A) b:1' });
    const { facts } = read(json(deployment('a', { containers: [container({ env })] })));
    const [fact] = facts;
    const found = fact?.fact === 'workload' ? fact.declares.filter(({ host }) => host === 'a') : [];
    expect(found).toHaveLength(1 + Math.floor((4 * 1024 * 1024) / 30_000));
  });

  test('as many mounts of one volume is counted once for each container', () => {
    const volumes = Array.from({ length: 3000 }, () => ({ name: 'v', configMap: { name: 'm' } }));
    const volumeMounts = volumes.map(() => ({ name: 'v', mountPath: '/etc' }));
    const { facts } = read(json(deployment('a', { containers: [container({ volumeMounts })], volumes })));
    expect(facts).toMatchObject([{ configMaps: [{ name: 'm' }] }]);
  });

  test('as thousands of uses of config maps loses its object', () => {
    const envFrom = Array.from({ length: 2001 }, (_, i) => ({ configMapRef: { name: `m${i}` } }));
    expect(read(json(deployment('a', { containers: [container({ envFrom })] }))).skips[0]).toMatch(
      /^1 x Deployment: spec.template.spec.containers use config maps more than 2000 times/,
    );
    const hosts = Array.from({ length: 11 }, (_, k) => [
      `k${k}`,
      Array.from({ length: 500 }, (_, i) => `h${i}:1`).join(' '),
    ]);
    const map = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'm' },
      data: Object.fromEntries(hosts),
    };
    expect(read(json(map)).skips[0]).toMatch(/^1 x ConfigMap: data names more than 5000 hosts/);
  });

  test('as one long list under many aliases, or a list that holds itself, loses its document', () => {
    const env = Array.from({ length: 100 }, (_, i) => `{name: A${i}, value: x}`).join(', ');
    const items = Array.from({ length: 90 }, (_, i) => `- {name: d${i}, env: *e}`).join('\n');
    expect(read(`${yaml('a')}---\nx: &e [${env}]\nitems:\n${items}\n`).skips[0]).toMatch(
      /^1 x YAML whose aliases multiply/,
    );
    expect(read(`${yaml('a')}---\n&a [*a, *a]\n`).skips[0]).toMatch(/^1 x YAML whose aliases multiply/);
    expect(read(`x: &l {a: b}\ny: *l\n${yaml('a')}`).facts).toHaveLength(1);
  });
});
