import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ConsoleFiles } from './console-files.ts';
import { acceptedEncodings } from './encodings.ts';
import { MOST_AT_ONCE, Packing } from './packing.ts';

const JSON_TEXT = JSON.stringify({ rows: Array.from({ length: 2000 }, (_, i) => `row ${i % 7}`) });
const ask = (accepts?: string) =>
  new Request(
    'http://localhost/v1/graph',
    accepts === undefined ? {} : { headers: { 'accept-encoding': accepts } },
  );
const answer = (text = JSON_TEXT, headers: Record<string, string> = {}) =>
  new Response(text, { headers: { 'content-type': 'application/json', etag: 'W/"one"', ...headers } });

describe('a long JSON answer', () => {
  test.each([
    ['zstd', 'gzip, deflate, br, zstd', zstdDecompressSync],
    ['br', 'gzip, br', brotliDecompressSync],
    ['gzip', 'gzip, br;q=0', gunzipSync],
  ])('is packed as %s for who takes %s, and says the same', async (encoding, accepts, unpack) => {
    const packed = await new Packing().packed(ask(accepts), '/v1/graph', answer());
    expect(packed.headers.get('content-encoding')).toBe(encoding);
    expect(packed.headers.get('vary')).toBe('accept-encoding');
    const bytes = Buffer.from(await packed.arrayBuffer());
    expect(bytes.length).toBeLessThan(JSON_TEXT.length / 4);
    expect(unpack(bytes).toString()).toBe(JSON_TEXT);
  });

  test('is sent as it is to who takes nothing else', async () => {
    const packing = new Packing();
    for (const accepts of [undefined, 'identity', 'gzip;q=0']) {
      const plain = await packing.packed(ask(accepts), '/v1/graph', answer());
      expect(plain.headers.get('content-encoding')).toBeNull();
      expect(await plain.text()).toBe(JSON_TEXT);
    }
  });

  test('is packed once for each version, path and encoding', async () => {
    const packing = new Packing();
    const read = async (path: string, text: string, tag: string) => {
      const packed = await packing.packed(ask('gzip'), path, answer(text, { etag: tag }));
      return gunzipSync(Buffer.from(await packed.arrayBuffer())).toString();
    };
    const other = JSON_TEXT.replaceAll('row', 'ROW');
    expect(await read('/v1/graph', JSON_TEXT, 'W/"one"')).toBe(JSON_TEXT);
    // By its version it is the same: its bytes are not looked at again.
    expect(await read('/v1/graph', other, 'W/"one"')).toBe(JSON_TEXT);
    expect(await read('/v1/graph', other, 'W/"two"')).toBe(other);
    expect(await read('/v1/graph?by=workload', other, 'W/"one"')).toBe(other);
  });
});

describe('queries that nobody asked before', () => {
  /** Packs when it is told to, and counts. */
  function slowPacker() {
    const waiting: (() => void)[] = [];
    const pack = (bytes: Uint8Array) =>
      new Promise<Uint8Array>((resolve) => void waiting.push(() => resolve(gzipSync(bytes))));
    return { waiting, packing: new Packing([['gzip', pack]]) };
  }

  test('are packed a few at a time: the rest is sent as it is', async () => {
    const { waiting, packing } = slowPacker();
    const all = Array.from({ length: 50 }, (_, i) =>
      packing.packed(ask('gzip'), `/v1/graph?x=${i}`, answer()),
    );
    const plain = await Promise.all(all.slice(MOST_AT_ONCE));
    expect(waiting).toHaveLength(MOST_AT_ONCE);
    for (const each of plain) {
      expect(each.headers.get('content-encoding')).toBeNull();
      expect(await each.text()).toBe(JSON_TEXT);
    }
    for (const go of waiting.splice(0)) go();
    for (const each of await Promise.all(all.slice(0, MOST_AT_ONCE)))
      expect(each.headers.get('content-encoding')).toBe('gzip');
    // Then there is room again, and many who ask for the same are one.
    const same = Array.from({ length: 20 }, () => packing.packed(ask('gzip'), '/v1/graph?x=50', answer()));
    while (waiting.length === 0) await new Promise(setImmediate);
    waiting[0]?.();
    for (const each of await Promise.all(same)) expect(each.headers.get('content-encoding')).toBe('gzip');
    expect(waiting).toHaveLength(1);
  });

  test('do not push out what everybody asks for, and are not kept without end', async () => {
    const packed: string[] = [];
    const packing = new Packing([
      [
        'gzip',
        async (bytes) => {
          packed.push('one');
          return gzipSync(bytes);
        },
      ],
    ]);
    const read = async (path: string) => (await packing.packed(ask('gzip'), path, answer())).arrayBuffer();
    for (let i = 0; i < 100; i++) {
      await read(`/v1/graph?x=${i}`);
      await read('/v1/graph');
    }
    expect(packed).toHaveLength(101);
    await read('/v1/graph?x=0');
    expect(packed).toHaveLength(102);
  });
});

test('what is short, has a strong version or none, is no JSON, or answers no read, stays as it is', async () => {
  const packing = new Packing();
  const of = (request: Request, given: Response) => packing.packed(request, '/v1/x', given);
  const none = new Response(JSON_TEXT, { headers: { 'content-type': 'application/json' } });
  const all = [
    await of(ask('gzip'), answer('{}')),
    await of(ask('gzip'), answer(JSON_TEXT, { etag: '"7"' })),
    await of(ask('gzip'), none),
    await of(ask('gzip'), answer(JSON_TEXT, { 'content-type': 'text/event-stream' })),
    await of(
      new Request('http://localhost/v1/x', { method: 'POST', headers: { 'accept-encoding': 'gzip' } }),
      answer(),
    ),
  ];
  for (const each of all) expect(each.headers.get('content-encoding')).toBeNull();
  expect(await all[0]?.text()).toBe('{}');
  expect(await all[1]?.text()).toBe(JSON_TEXT);
});

test('what a caller takes is read in the time that its length costs, whatever stands in it', () => {
  const taken = acceptedEncodings(` br ; q=0 , GZIP\t; q=0.5,a${' '.repeat(300_000)}b`);
  expect([...taken].slice(0, 1)).toEqual(['gzip']);
}, 10_000);

test('a file of the console that is kept packed is the same for who takes it as it is, each time', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-packed-'));
  try {
    const text = 'const a = 1;\n'.repeat(1000);
    mkdirSync(join(dir, 'assets'));
    writeFileSync(join(dir, 'assets', 'index-BOP5sLAL.js'), text);
    writeFileSync(join(dir, 'assets', 'index-BOP5sLAL.js.gz'), gzipSync(text));
    const files = new ConsoleFiles(dir);
    for (const accepts of [undefined, 'gzip', undefined]) {
      const answer = files.answer(ask(accepts), '/assets/index-BOP5sLAL.js', false);
      const bytes = Buffer.from((await answer?.arrayBuffer()) ?? new ArrayBuffer(0));
      expect(answer?.headers.get('content-encoding')).toBe(accepts ?? null);
      expect((accepts === undefined ? bytes : gunzipSync(bytes)).toString()).toBe(text);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
