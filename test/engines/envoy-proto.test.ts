import fc from 'fast-check';
import { existsSync } from 'node:fs';
import protobuf from 'protobufjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { engine } from '../../src/engines/envoy/index.ts';
import { policiesArb } from '../corpus/generators.ts';
import { loadDecisions } from '../corpus/load.ts';

const MODULES = new URL('../../node_modules/', import.meta.url).pathname;
/** Envoy's .proto files come inside @grpc/grpc-js-xds, Google's well-known ones with protobufjs. */
const ROOTS = [
  ...['envoy-api', 'googleapis', 'xds', 'protoc-gen-validate'].map(
    (name) => `${MODULES}@grpc/grpc-js-xds/deps/${name}/`,
  ),
  `${MODULES}protobufjs/`,
];
const FILES = [
  'envoy/extensions/filters/http/rbac/v3/rbac.proto',
  'envoy/extensions/filters/network/rbac/v3/rbac.proto',
  'envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto',
];

const root = new protobuf.Root();

beforeAll(async () => {
  root.resolvePath = (_, target) => ROOTS.map((dir) => dir + target).find(existsSync) ?? target;
  await root.load(FILES, { keepCase: true });
});

/** What in the JSON is no field of the message, or not of its type; empty for a message that converts. */
function problems(type: protobuf.Type, json: unknown, at: string): string[] {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return [`${at} is no ${type.name}`];
  const found: string[] = [];
  for (const oneof of type.oneofsArray) {
    if (oneof.fieldsArray.filter(({ name }) => name in json).length > 1)
      found.push(`${at} sets ${oneof.name} twice`);
  }
  for (const [key, value] of Object.entries(json)) {
    const field = type.fields[key];
    if (field === undefined) found.push(`${at}.${key} is no field of ${type.fullName}`);
    else found.push(...fieldProblems(field.resolve(), value, `${at}.${key}`));
  }
  return found;
}

function fieldProblems(field: protobuf.Field, value: unknown, at: string): string[] {
  if (field instanceof protobuf.MapField) {
    return Object.entries(value as object).flatMap(([key, item]) =>
      valueProblems(field, item, `${at}[${key}]`),
    );
  }
  if (!field.repeated) return valueProblems(field, value, at);
  if (!Array.isArray(value)) return [`${at} is no list`];
  return value.flatMap((item, i) => valueProblems(field, item, `${at}[${i}]`));
}

function valueProblems({ type, resolvedType }: protobuf.Field, value: unknown, at: string): string[] {
  if (resolvedType instanceof protobuf.Enum) {
    return Object.hasOwn(resolvedType.values, String(value))
      ? []
      : [`${at}: ${String(value)} is no ${resolvedType.name}`];
  }
  if (resolvedType instanceof protobuf.Type) {
    // JSON writes wrapped values bare.
    if (/^\.google\.protobuf\.(UInt32|Bool)Value$/.test(resolvedType.fullName)) {
      return ['number', 'boolean'].includes(typeof value) ? [] : [`${at} is no ${resolvedType.name}`];
    }
    return problems(resolvedType, value, at);
  }
  const expected =
    type === 'string' ? 'string' : type === 'bool' ? 'boolean' : type.endsWith('64') ? 'string' : 'number';
  return typeof value === expected ? [] : [`${at} is no ${type}`];
}

/** Problems of a whole document. */
function documentProblems(content: Readonly<Record<string, unknown>>): string[] {
  const filters = ['http_filters', 'network_filters'].flatMap(
    (key) => (content[key] ?? []) as Record<string, unknown>[],
  );
  const manager = root.lookupType(
    'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  );
  return [
    ...problems(manager, content['http_connection_manager'] ?? {}, 'http_connection_manager'),
    ...filters.flatMap(({ name, typed_config: config }) => {
      const { '@type': url, ...message } = config as Record<string, unknown>;
      return problems(
        root.lookupType(String(url).replace('type.googleapis.com/', '')),
        message,
        String(name),
      );
    }),
  ];
}

describe("the envoy rendering against Envoy's own .proto files", () => {
  test.each([false, true])('converts for the whole corpus, shadow %s', (shadow) => {
    const options = { shadow, workload: () => undefined };
    const sets = new Set(loadDecisions().map(({ policies }) => policies));
    let filters = 0;
    for (const policies of sets) {
      for (const { content } of engine.render(policies, options).documents) {
        expect(documentProblems(content)).toEqual([]);
        filters += JSON.stringify(content).split('"@type"').length - 1;
      }
    }
    expect(filters).toBeGreaterThan(10);
  });

  test('converts for random policies', () => {
    fc.assert(
      fc.property(policiesArb(), (policies) => {
        const { documents } = engine.render(policies, { shadow: false, workload: () => undefined });
        expect(documents.flatMap(({ content }) => documentProblems(content))).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  test('would be refused with a field, an enum or a type that Envoy does not have', () => {
    const type = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';
    const broken = (rules: object, more: object = {}) =>
      documentProblems({ http_filters: [{ name: 'f', typed_config: { '@type': type, rules, ...more } }] });
    expect(broken({ action: 'ALLOW' })).toEqual([]);
    expect(broken({ action: 'PERMIT' })).toHaveLength(1);
    expect(broken({ policies: { a: { permission: [] } } })).toHaveLength(1);
    expect(broken({ policies: { a: { permissions: [{ any: 'yes' }] } } })).toHaveLength(1);
    expect(broken({ policies: { a: { permissions: [{ any: true, destination_port: 1 }] } } })).toHaveLength(
      1,
    );
    expect(broken({}, { shadow_prefix: 'x' })).toHaveLength(1);
  });
});
