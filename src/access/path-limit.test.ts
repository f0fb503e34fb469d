import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { collapseHard, collapsePath, isCollapsed } from './path-limit.ts';

describe('collapsing paths past the stored limit', () => {
  test.each([
    ['/orders/17', '/orders/{collapsed1}'],
    ['/orders/17/items/4', '/orders/{collapsed1}/items/{collapsed2}'],
    ['/orders/list', '/orders/list'],
    ['/u/ann@example.org', '/u/{collapsed1}'],
    ['/a/{id}/7', '/a/{id}/{collapsed1}'],
    [
      '/1/2/3/4/5/6/7/8/9/10/11/12/13/14',
      `/${Array.from({ length: 12 }, (_, i) => `{collapsed${i + 1}}`).join('/')}/{collapsed=**}`,
    ],
  ])('%s becomes %s', (path, collapsed) => {
    expect(collapsePath(path)).toBe(collapsed);
  });

  test('collapsing twice changes nothing', () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z0-9%@.]{0,30}$/), { minLength: 1, maxLength: 20 }),
        (segments) => {
          const once = collapsePath(`/${segments.join('/')}`);
          expect(collapsePath(once)).toBe(once);
        },
      ),
    );
  });

  test('the widest form keeps the first word, and knows itself', () => {
    expect(collapseHard('/files/a/b')).toBe('/files/{collapsed=**}');
    expect(collapseHard('/77/a')).toBe('/{collapsed=**}');
    expect(isCollapsed('/files/{collapsed=**}')).toBe(true);
    expect(isCollapsed('/files/{rest=**}')).toBe(false);
  });
});
