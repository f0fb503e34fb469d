import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { templateOf } from './route.ts';

test.each([
  ['/', '/'],
  ['/orders/{id}', '/orders/{id}'],
  ['/orders/{id:[0-9]{4}}/x', '/orders/{id}/x'],
  ['/orders/{id: [^/]+}', '/orders/{id}'],
  ['/orders/{id:int}', '/orders/{id}'],
  ['/orders/:id', '/orders/{id}'],
  ['/orders/:id(\\d+)/items', '/orders/{id}/items'],
  ['/orders/<int:id>', '/orders/{id}'],
  ['/orders/<id>/', '/orders/{id}/'],
  ['^orders/(?P<pk>[0-9]+)/$', '/orders/{pk}/'],
  ['/orders/[id]', '/orders/{id}'],
  ['GET /orders/{id}', '/orders/{id}'],
  ['/orders/:id(.:format)', '/orders/{id}'],
  ['/a/{id}/b/{id}', '/a/{id}/b/{id2}'],
  ['/a/{order-id}/{user.id}', '/a/{order_id}/{user_id}'],
  ['/*', '/{rest=**}'],
  ['/**', '/{rest=**}'],
  ['*', '/{rest=**}'],
  ['/static/*filepath', '/static/{filepath=**}'],
  ['/static/{*path}', '/static/{path=**}'],
  ['/static/{**path}', '/static/{path=**}'],
  ['/static/{path...}', '/static/{path=**}'],
  ['/static/{path:.*}', '/static/{path=**}'],
  ['/static/{path:path}', '/static/{path=**}'],
  ['/static/<path:name>', '/static/{name=**}'],
  ['/static/[...slug]', '/static/{slug=**}'],
  ['/a/*/b', '/a/{any}/b'],
  ['/{$}', '/'],
])('the route %s is the template %s', (route, template) => {
  expect(templateOf(route, undefined)).toBe(template);
});

test.each([
  // The concrete path agrees: the template.
  ['/orders/{id}', '/orders/7', '/orders/{id}'],
  ['/orders/{id}', '/orders/7/', '/orders/{id}/'],
  ['/orders/<id>/', '/orders/7', '/orders/{id}'],
  ['/static/*', '/static/a/b', '/static/{rest=**}'],
  ['/o/{id?}', '/o/7', '/o/{id}'],
  ['/o/{id?}', '/o', '/o'],
  // A mounted router reports only its own part.
  ['/:id', '/api/orders/7', '/api/orders/{id}'],
  ['/', '/', '/'],
  // The path says more, or something else: the path is used.
  ['/*', '/a/b', undefined],
  ['/a/{id}', '/b/7', undefined],
  ['/a/{id}', '/a/7/8', undefined],
  ['/files/{name}.json', '/files/x.json', undefined],
  ['/{from}-{to}', '/a-b', undefined],
  ['/a/**/b', '/a/x/y/b', undefined],
])('the route %s with the path %s gives %s', (route, path, template) => {
  expect(templateOf(route, path)).toBe(template);
});

test('whatever the route is, a template is well formed: parameters are whole segments, the rest comes last', () => {
  const segment = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom('{a}', ':b', '<int:c>', '*', '**', '{d:.*}', '{e}-{f}', '(?P<g>[/]+)', '{{', '}', ''),
  );
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 6 }), (segments) => {
      const template = templateOf(`/${segments.join('/')}`, undefined) ?? '/';
      const parts = template.slice(1).split('/');
      const wrong = parts.filter((part, i) => {
        const name = /^\{[A-Za-z_]\w*(=\*\*)?\}$/.exec(part);
        return name === null ? /[{}]/.test(part) : name[1] !== undefined && i < parts.length - 1;
      });
      expect(wrong).toEqual([]);
    }),
  );
});
