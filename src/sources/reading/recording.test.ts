import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { HEAD_BYTES, openRecording } from './recording.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-recording-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let written = 0;
function file(content: Buffer): string {
  const path = join(root, `${++written}.log`);
  writeFileSync(path, content);
  return path;
}

/** 1.4 MB that compress about three times. */
const content = Buffer.from(
  Array.from({ length: 100_000 }, (_, i) => `${(i * 7919) % 100_003} request\n`).join(''),
);
const blockOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest();
// The content is less than a block: the digest of one block's digest.
const sha256 = createHash('sha256').update(blockOf(content)).digest('hex');
const zstd = (bytes: Buffer) => zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });

async function readAll(path: string, stdin?: Readable) {
  const recording = await openRecording(path, stdin);
  try {
    const head = await recording.head();
    const chunks = [];
    for await (const chunk of recording.chunks()) chunks.push(chunk);
    const { bytes, bytesRead, size } = recording;
    return { head, content: Buffer.concat(chunks), digest: recording.digest(), bytes, bytesRead, size };
  } finally {
    await recording.close();
  }
}

describe('a recording', () => {
  const half = content.length >> 1;
  const forms: [string, Buffer][] = [
    ['plain', content],
    ['gzip', gzipSync(content)],
    [
      'gzip of two members',
      Buffer.concat([content.subarray(0, half), content.subarray(half)].map((it) => gzipSync(it))),
    ],
    ['zstd', zstd(content)],
    ['zstd of two frames', Buffer.concat([content.subarray(0, half), content.subarray(half)].map(zstd))],
  ];
  for (const [name, stored] of forms) {
    test(`as ${name} gives the same content and digest, and tells how far it is`, async () => {
      const read = await readAll(file(stored));
      expect(read.content.equals(content)).toBe(true);
      expect(read.head.equals(content.subarray(0, HEAD_BYTES))).toBe(true);
      expect(read).toMatchObject({
        digest: sha256,
        bytes: content.length,
        bytesRead: stored.length,
        size: stored.length,
      });
    });
  }

  test('comes from standard input in the same way, a byte at a time or compressed', async () => {
    const bytes = (all: Buffer) => Readable.from(Array.from(all, (byte) => Buffer.from([byte])));
    expect((await readAll('-', bytes(Buffer.from('a\nb')))).content.toString()).toBe('a\nb');
    const short = gzipSync('packed');
    expect(await readAll('-', bytes(short))).toMatchObject({
      size: undefined,
      bytesRead: short.length,
      bytes: 6,
    });
    expect((await readAll('-', Readable.from([]))).content).toHaveLength(0);
  });

  const gzipped = gzipSync(content);
  const zstded = zstd(content);
  const spoiled = (bytes: Buffer, at: number) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 0xff;
    return copy;
  };
  const broken: [string, Buffer, string][] = [
    [
      'gzip that was cut off',
      gzipped.subarray(0, gzipped.length - 2000),
      'ends in the middle of its gzip data',
    ],
    ['gzip cut inside its header', gzipped.subarray(0, 5), 'ends in the middle'],
    ['gzip without its last byte', gzipped.subarray(0, gzipped.length - 1), 'ends in the middle'],
    ['gzip with damage', spoiled(gzipped, gzipped.length - 6), 'gzip data of'],
    ['gzip with something behind it', Buffer.concat([gzipped, Buffer.from('more')]), 'damaged'],
    [
      'zstd that was cut off',
      zstded.subarray(0, zstded.length - 2000),
      'ends in the middle of its zstd data',
    ],
    ['zstd without its last byte', zstded.subarray(0, zstded.length - 1), 'ends in the middle'],
    [
      'zstd with something behind it',
      Buffer.concat([zstded, Buffer.from('something')]),
      'ends in the middle',
    ],
    ['zstd with damage', spoiled(zstded, zstded.length - 3), 'zstd data of'],
  ];
  for (const [name, stored, message] of broken) {
    test(`as ${name} is refused`, async () => {
      const path = file(stored);
      await expect(readAll(path)).rejects.toMatchObject({
        code: 'invalid_recording',
        message: expect.stringContaining(message),
        place: { file: path },
      });
    });
  }

  test('that grows 30,000 times while it is decompressed is refused as a bomb', async () => {
    const bomb = zstd(Buffer.alloc(256 * 1024 * 1024));
    const path = file(Buffer.concat(Array.from({ length: 5 }, () => bomb)));
    const recording = await openRecording(path);
    const read = async () => {
      for await (const chunk of recording.chunks()) expect(chunk.length).toBeLessThan(1024 * 1024);
    };
    await expect(read()).rejects.toMatchObject({
      code: 'limit',
      message: expect.stringContaining('2000 times'),
    });
    await recording.close();
  });

  test('that is not there, or a directory, is named', async () => {
    const missing = join(root, 'missing.log');
    await expect(openRecording(missing)).rejects.toMatchObject({ code: 'not_found', subject: missing });
    await expect(openRecording(join(file(content), 'below'))).rejects.toMatchObject({ code: 'not_found' });
    await expect(openRecording(root)).rejects.toMatchObject({
      code: 'io',
      message: expect.stringContaining('is a directory'),
    });
  });

  test('can be closed before it was read', async () => {
    for (const stored of [content, gzipped, zstded]) {
      const recording = await openRecording(file(stored));
      await recording.head();
      await recording.close();
      await (await openRecording(file(stored))).close();
      expect(recording.bytes).toBe(0);
    }
  });
});
