import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { detectSource } from './detect.ts';
import { fakeSource } from './fake-source.ts';
import type { Source } from '../source.ts';
import { SOURCES } from '../sources.ts';

const surer: Source = {
  ...fakeSource,
  format: 'hubble',
  detect: (head) => (head.includes('sure') ? 0.9 : 0.2),
};
const certain: Source = { ...fakeSource, detect: (head) => (head.includes('sure') ? 0.5 : 0) };

describe('the format of a recording', () => {
  test('is that of the surest source', () => {
    expect(detectSource(Buffer.from('sure'), 'f', [certain, surer]).format).toBe('hubble');
    expect(detectSource(Buffer.from('other'), 'f', [certain, surer]).format).toBe('hubble');
    expect(detectSource(Buffer.from('\ufeff{"resourceSpans":[]}'), 'f', SOURCES).format).toBe('otlp');
  });

  const tar = Buffer.alloc(1024);
  tar.write('file.txt');
  tar.write('ustar', 257);
  const foreign: [string, Buffer, string][] = [
    ['a picture', Buffer.from('\x89PNG\r\n\x1a\n{"resourceSpans":', 'latin1'), 'PNG'],
    ['gzip inside of gzip', gzipSync('x'), 'unpack it once'],
    ['bzip2', Buffer.from('BZh91AY'), 'bunzip2'],
    ['UTF-16', Buffer.from('\ufeff{"a":1}', 'utf16le'), 'save it as UTF-8'],
    ['a tar archive', tar, 'tar archive'],
    [
      'random bytes',
      Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167 + (i >> 3)) % 256)),
      'binary data',
    ],
    ['NUL bytes', Buffer.alloc(4096), 'binary data'],
    ['other JSON', Buffer.from('{"temperature":3,"place":"here"}'), '"temperature", "place"'],
    ['HTML', Buffer.from('<!DOCTYPE html><html>'), 'HTML'],
    ['text', Buffer.from('Dear \x1b[31mreader,\nmore'), '"Dear ?[31mreader,"'],
    ['empty lines', Buffer.from('\n\n\r\n'), 'empty lines'],
  ];
  for (const [name, head, looksLike] of foreign) {
    test(`is unknown for ${name}, and the message says what it looks like and what to do`, () => {
      expect(() => detectSource(head, 'some.file', SOURCES)).toThrow(
        expect.objectContaining({
          code: 'invalid_recording',
          message: expect.stringMatching(
            /some\.file is in no format .* otlp, envoy, istio, hubble, kubernetes.*--format/,
          ),
        }),
      );
      expect(() => detectSource(head, 'some.file', SOURCES)).toThrow(looksLike);
    });
  }

  test('is not asked for in an empty file', () => {
    expect(() => detectSource(Buffer.alloc(0), 'empty.log', SOURCES)).toThrow(
      'empty.log is empty: nothing was recorded in it',
    );
  });
});
