import { describe, expect, test } from 'vitest';
import { announcedTrailers } from './trailers.ts';

describe('the trailers that a request may have', () => {
  test.each<[what: string, headers: Record<string, string>, names: readonly string[]]>([
    ['none where none is announced', {}, []],
    ['those that are announced, in any case', { trailer: 'X-A, x_b ,,' }, ['x-a', 'x-b']],
    ['none that the head has as well', { trailer: 'x-a,x.b', 'x-a': '1', x_b: '2' }, []],
    [
      'none that frames, routes or names',
      { trailer: 'Content-Length,Host,Cookie,X-Forwarded_For,TE,range' },
      [],
    ],
    ['no name without an end', { trailer: `${'a'.repeat(64)},${'b'.repeat(65)}` }, ['a'.repeat(64)]],
  ])('are %s', (_, headers, names) => expect([...announcedTrailers(headers)]).toEqual(names));

  test('are 32 at most', () => {
    const trailer = Array.from({ length: 100 }, (_, i) => `x-${i}`).join();
    expect(announcedTrailers({ trailer }).size).toBe(32);
  });
});
