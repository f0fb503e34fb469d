import { describe, expect, test } from 'vitest';
import { nameless, TemplateMatcher, withUniqueNames } from './matcher.ts';

describe('the most specific template', () => {
  const matcher = new TemplateMatcher([
    '/order/{id}',
    '/order/refresh',
    '/order/{id}/items',
    '/order/status/{id}',
    '/files/{rest=**}',
    '/{any}/items',
  ]);

  test.each([
    ['/order/7', '/order/{id}'],
    ['/order/refresh', '/order/refresh'],
    ['/order/refresh/items', '/order/{id}/items'],
    ['/order/status/9', '/order/status/{id}'],
    ['/order/status', '/order/{id}'],
    ['/x/items', '/{any}/items'],
    ['/files/', '/files/{rest=**}'],
    ['/files/a/b', '/files/{rest=**}'],
    ['/order/{other}', '/order/{id}'],
    ['/files/{p=**}', '/files/{rest=**}'],
  ])('of %s is %s', (path, template) => {
    expect(matcher.match(path)).toBe(template);
  });

  test.each(['/files', '/order/', '/order/{p=**}', '/', '', 'order/7', '//items', '/__proto__'])(
    'of "%s" is none',
    (path) => {
      expect(matcher.match(path)).toBeUndefined();
    },
  );

  test('does not depend on what a parameter is called', () => {
    expect(nameless('/a/{x}/b/{y=**}')).toBe('/a/{}/b/{**}');
    const other = new TemplateMatcher(['/a/{y}', '/a/{x}']);
    expect(other.size).toBe(1);
    expect(other.match('/a/1')).toBe('/a/{x}');
  });

  test('has every name once, as a policy wants it', () => {
    expect(withUniqueNames('/a/{id}/b/{id}/{id=**}')).toBe('/a/{id}/b/{id2}/{id3=**}');
    expect(withUniqueNames('/a/b')).toBe('/a/b');
  });
});
