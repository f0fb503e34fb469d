import { describe, expect, test } from 'vitest';
import { NEEDS, ROUTE_NAMES, ROUTES } from '../../api/index.ts';
import { signInApp } from '../sign-in/app.ts';
import { openApi } from './openapi.ts';

type Node = { readonly [key: string]: unknown };
const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Every object below, with the way to it. */
function* nodes(value: unknown, way = '#'): Generator<[string, Node]> {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) yield* nodes(item, `${way}/${i}`);
  } else if (isNode(value)) {
    yield [way, value];
    for (const [key, item] of Object.entries(value))
      yield* nodes(item, `${way}/${key.replaceAll('/', '~1')}`);
  }
}

const document = openApi() as Node;
const all = Object.entries(document['paths'] as Node).flatMap(([path, item]) =>
  Object.entries(item as Node).map(([method, operation]) => ({ path, method, operation: operation as Node })),
);

/** Those of the table of routes; signing in and out is apart. */
const operations = all.filter(({ operation }) => !String(operation['operationId']).startsWith('sign-in.'));
const signIns = all.filter((each) => !operations.includes(each));

const TYPES = new Set(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']);

/** Keywords of JSON Schema 2020-12 that a schema here may have, and the type of their values. */
const KEYWORDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  type: (value) => [value].flat().every((each) => TYPES.has(String(each))),
  description: (value) => typeof value === 'string',
  enum: Array.isArray,
  const: () => true,
  default: () => true,
  format: (value) => typeof value === 'string',
  pattern: (value) => typeof value === 'string' && new RegExp(value, 'u') instanceof RegExp,
  minLength: Number.isInteger,
  maxLength: Number.isInteger,
  minimum: (value) => typeof value === 'number',
  maximum: (value) => typeof value === 'number',
  exclusiveMinimum: (value) => typeof value === 'number',
  exclusiveMaximum: (value) => typeof value === 'number',
  minItems: Number.isInteger,
  maxItems: Number.isInteger,
  required: (value) => Array.isArray(value) && value.every((each) => typeof each === 'string'),
  properties: isNode,
  propertyNames: isNode,
  additionalProperties: (value) => typeof value === 'boolean' || isNode(value),
  items: isNode,
  anyOf: Array.isArray,
  oneOf: Array.isArray,
  allOf: Array.isArray,
  not: isNode,
  $ref: (value) => typeof value === 'string',
  $defs: isNode,
};

/** What is wrong with a JSON Schema, as sentences. */
function* faults(schema: unknown, way: string): Generator<string> {
  if (!isNode(schema)) {
    yield `${way} is no schema`;
    return;
  }
  for (const [key, value] of Object.entries(schema)) {
    const fits = Object.hasOwn(KEYWORDS, key) ? KEYWORDS[key] : undefined;
    if (fits?.(value) !== true) yield `${way}/${key}: ${JSON.stringify(value)?.slice(0, 80)}`;
    if (['items', 'not', 'propertyNames', 'additionalProperties'].includes(key) && isNode(value))
      yield* faults(value, `${way}/${key}`);
    if (['anyOf', 'oneOf', 'allOf'].includes(key) && Array.isArray(value))
      for (const [i, each] of value.entries()) yield* faults(each, `${way}/${key}/${i}`);
    if (['properties', '$defs'].includes(key) && isNode(value))
      for (const [name, each] of Object.entries(value)) yield* faults(each, `${way}/${key}/${name}`);
  }
  const known = Object.keys(schema['properties'] ?? {});
  for (const name of (schema['required'] ?? []) as string[])
    if (!known.includes(name)) yield `${way}: "${name}" is required and not described`;
}

describe('the OpenAPI document', () => {
  test('holds every route of the table once, with the role that it needs', () => {
    const found = operations.map(({ path, method, operation }) => {
      const need = operation['x-role'];
      return `${String(operation['operationId'])} ${method.toUpperCase()} ${path} ${String(need)}`;
    });
    const expected = ROUTE_NAMES.map((name) => {
      const { method, path, need } = ROUTES[name];
      return `${name} ${method} ${path.replaceAll(/:(\w+)/g, '{$1}')} ${need}`;
    });
    expect(found.sort()).toEqual(expected.sort());
    expect(document['openapi']).toBe('3.1.1');
    for (const { operation } of operations) expect(NEEDS).toContain(operation['x-role']);
  });

  test('holds every way to sign in and out that is served', () => {
    // Nothing of the parts is asked for before a call comes.
    const { routes } = signInApp({ desk: {}, cookies: {} } as unknown as Parameters<typeof signInApp>[0]);
    const served = routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path}`);
    const found = signIns.map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(found.toSorted()).toEqual(served.toSorted());
    for (const { operation } of signIns)
      expect([operation['x-role'], operation['security']]).toEqual(['anyone', []]);
  });

  test('describes each parameter of each path, as required', () => {
    for (const { path, operation } of operations) {
      const parameters = (operation['parameters'] ?? []) as { name: string; in: string; required: boolean }[];
      const inPath = parameters.filter((each) => each.in === 'path');
      expect(inPath.map(({ name }) => name)).toEqual(
        [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
      );
      expect(inPath.every(({ required }) => required)).toBe(true);
      expect(new Set(parameters.map(({ name }) => name)).size).toBe(parameters.length);
    }
  });

  test('holds schemas of the dialect of OpenAPI 3.1 alone, and references that lead somewhere', () => {
    const found: string[] = [];
    for (const [way, node] of nodes(document)) {
      if (way.endsWith('/properties') || way.endsWith('/paths')) continue;
      if (isNode(node['schema'])) found.push(...faults(node['schema'], `${way}/schema`));
      const ref = node['$ref'];
      if (typeof ref !== 'string') continue;
      let at: unknown = document;
      for (const step of ref.split('/').slice(1))
        at = isNode(at) ? at[step.replaceAll('~1', '/')] : undefined;
      if (at === undefined) found.push(`${way} refers to ${ref}`);
    }
    expect(found).toEqual([]);
  });

  test('says of every answer what it is', () => {
    for (const { operation } of operations) {
      const responses = operation['responses'] as Record<string, { content?: Node; $ref?: string }>;
      const [type, body] = Object.entries(responses['200']?.content ?? {})[0] ?? [];
      expect(['application/json', 'text/event-stream']).toContain(type);
      expect(Object.keys(((body as Node)['schema'] as Node) ?? {})).not.toEqual([]);
      expect(responses['default']?.$ref).toBe('#/components/responses/problem');
    }
  });
});
