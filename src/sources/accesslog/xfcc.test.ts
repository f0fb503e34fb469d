import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lastClientCert } from './xfcc.ts';

describe('an x-forwarded-client-cert header', () => {
  test.each([
    ['By=spiffe://a/b;URI=spiffe://a/c', ['spiffe://a/b'], ['spiffe://a/c']],
    ['by=spiffe://a/b;hash=00;Subject="";uri=spiffe://a/c', ['spiffe://a/b'], ['spiffe://a/c']],
    ['By=x;URI=first,By=y;Hash=1;URI=second', ['y'], ['second']],
    ['URI=forged,By=y;Hash=1', ['y'], []],
    ['By=y;Subject="CN=a,URI=spiffe://evil,O=\\"x;y\\"";URI="spiffe://a/c"', ['y'], ['spiffe://a/c']],
    ['By=y;Subject="a\\",URI=evil";DNS=a.example;DNS=b.example', ['y'], []],
    ['By=y;URI=one;URI=two', ['y'], ['one', 'two']],
    [' By = y ; URI = z ', ['y'], ['z']],
  ])('%s', (header, by, uri) => {
    expect(lastClientCert(header)).toEqual({ by, uri });
  });

  test.each([
    '',
    'By',
    'By=x;',
    'By=x,',
    '=x',
    'By=x;URI="open',
    'By=x;URI="a"b',
    'URI=a"b"',
    'By=x;;URI=y',
    'By=x;U"RI=y',
    'a,URI=y',
  ])('is not well formed: %j', (header) => {
    expect(lastClientCert(header)).toBeUndefined();
  });

  test('any value comes back from between quotes, whatever stands before', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (before, value) => {
        const quoted = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
        const header = `Subject=${quoted(before)};URI=evil,By=y;Subject=${quoted(before)};URI=${quoted(value)}`;
        expect(lastClientCert(header)).toEqual({ by: ['y'], uri: [value] });
      }),
    );
  });
});
