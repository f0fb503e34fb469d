import { describe, expect, test } from 'vitest';
import { openApiTemplates } from './openapi.ts';

describe('an OpenAPI document', () => {
  test('gives its paths behind the path of its first server', () => {
    const paths = { '/orders/{orderId}': {}, '/orders/refresh': {}, 'x-note': {} };
    expect(
      openApiTemplates({ openapi: '3.1.0', servers: [{ url: 'https://shop.example/api/' }], paths }),
    ).toEqual(['/api/orders/refresh', '/api/orders/{orderId}']);
    expect(openApiTemplates({ swagger: '2.0', basePath: '/v2', paths: { '/pets': {} } })).toEqual([
      '/v2/pets',
    ]);
    expect(openApiTemplates({ paths: { '/pets': {} } })).toEqual(['/pets']);
  });

  test('has a segment that mixes text and variables as one variable, and names once', () => {
    const paths = {
      '/files/{name}.{ext}': {},
      '/a/{id}/b/{id}': {},
      "/Users('{key}')": {},
      '/c/{x-y z}': {},
    };
    expect(openApiTemplates({ paths })).toEqual(['/a/{id}/b/{id2}', '/c/{x_y_z}', '/files/{name}', '/{key}']);
  });

  test.each([null, 7, 'text', [], {}, { paths: [] }, { paths: 'x' }])(
    'is refused where it is %j',
    (document) => {
      expect(() => openApiTemplates(document)).toThrow(/"paths"/);
    },
  );

  test('is refused beyond the limit', () => {
    const paths = Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`/p${i}`, {}]));
    expect(() => openApiTemplates({ paths })).toThrow(/at most 10000/);
  });
});
