import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import type { Fact } from '../../access/index.ts';
import { fakeSource } from './fake-source.ts';
import { readRecordings } from './read.ts';
import type { ReadOptions, ReadOutcome } from './outcome.ts';
import type { Source } from '../source.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-read-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const NOW = Date.UTC(2026, 10, 16);

function file(name: string, content: string | Buffer): string {
  const path = join(root, name);
  writeFileSync(path, content);
  return path;
}

const lineOf = (port: number, ip = '10.0.0.1') => `${JSON.stringify({ fake: port, at: NOW, ip })}\n`;

/** An inventory of one node a file: `node NAME ADDRESS`, or `broken`. */
const inventory: Source = {
  format: 'kubernetes',
  framing: 'document',
  detect: (head) => (/^(node|broken)/.test(head) ? 1 : 0),
  open: (tally) => ({
    line(bytes) {
      const [, name = '', ip = ''] = bytes.toString().trim().split(' ');
      tally.read++;
      if (name === '') return tally.skip('no name', 1, '');
      tally.accepted++;
      tally.fact(`node ${name}`, { fact: 'node', name, ips: [ip] });
    },
    end() {},
  }),
};

/** A source that joins: it only counts at the end, and carries how many lines it has seen over all recordings. */
const joining: Source = {
  ...fakeSource,
  format: 'otlp',
  joins: true,
  detect: (head) => (head.includes('"span"') ? 1 : 0),
  open(tally, { carry }) {
    let lines = typeof carry === 'number' ? carry : 0;
    return {
      line(bytes) {
        tally.read++;
        tally.accepted++;
        if (bytes.includes('stop')) throw new TypeError('a fault of the program');
        lines++;
      },
      end: () => tally.lose('lines', lines),
      carry: () => lines,
    };
  },
};
const sources = [fakeSource, inventory, joining];

async function readAll(paths: readonly string[], options: Partial<ReadOptions> = {}): Promise<ReadOutcome[]> {
  return Array.fromAsync(readRecordings(paths, { now: NOW, sources, threads: 1, ...options }));
}

function readIn(outcome: ReadOutcome | undefined) {
  if (outcome?.kind !== 'read') throw new TypeError(`not read: ${inShort(outcome ? [outcome] : []).join()}`);
  return outcome;
}

/** Outcomes in short: what was read of which files, in order. */
const inShort = (outcomes: readonly ReadOutcome[]) =>
  outcomes.map((it) => {
    if (it.kind === 'read') return `read ${it.recording.files.map(({ name }) => name).join(' ')}`;
    return it.kind === 'known' ? `known ${it.file.name}` : `failed ${it.files.join(' ')}: ${it.error.code}`;
  });

describe('reading recordings', () => {
  test('gives a tally for each file, in order, with its digest and size', async () => {
    const one = file('one.log', lineOf(1) + lineOf(1));
    const two = file('two.log.gz', gzipSync(lineOf(2)));
    const outcomes = await readAll([one, two]);
    expect(inShort(outcomes)).toEqual([`read ${one}`, `read ${two}`]);
    const [first] = outcomes;
    const read = readIn(first);
    expect(read.recording).toEqual({
      format: 'envoy',
      takenAt: NOW,
      files: [{ name: one, bytes: lineOf(1).length * 2, digest: expect.stringMatching(/^[0-9a-f]{64}$/) }],
    });
    expect(read.tally).toMatchObject({ read: 2, accepted: 2, accessCount: 1 });
  });

  test('notices the same content, plain and compressed, in one command and from before', async () => {
    const plain = file('same.log', lineOf(1));
    const gz = file('same.log.gz', gzipSync(lineOf(1)));
    const zst = file('same.log.zst', zstdCompressSync(lineOf(1)));
    const outcomes = await readAll([plain, gz, zst, plain]);
    expect(inShort(outcomes)).toEqual([`read ${plain}`, `known ${gz}`, `known ${zst}`, `known ${plain}`]);
    const digest = outcomes[1]?.kind === 'known' ? outcomes[1].file.digest : '';
    expect(inShort(await readAll([gz], { known: (each) => each === digest }))).toEqual([`known ${gz}`]);
  });

  test('goes on with the other files when one fails', async () => {
    const good = file('good.log', lineOf(1));
    const missing = join(root, 'missing.log');
    const png = file('a.png', Buffer.from('\x89PNG\r\n', 'latin1'));
    const empty = file('empty.log', '');
    const cut = file('cut.gz', gzipSync(lineOf(1).repeat(50)).subarray(0, 40));
    const stops = file('stops.log', `${lineOf(1)}stop\n`);
    const outcomes = await readAll([missing, root, png, empty, cut, stops, good]);
    expect(inShort(outcomes)).toEqual([
      `failed ${missing}: not_found`,
      `failed ${root}: io`,
      `failed ${png}: invalid_recording`,
      `failed ${empty}: invalid_recording`,
      `failed ${cut}: invalid_recording`,
      `failed ${stops}: invalid_recording`,
      `read ${good}`,
    ]);
    const failures = outcomes.flatMap((it) => (it.kind === 'failed' ? [it] : []));
    for (const { error, files } of failures) expect(error.message).toContain(files[0]);
  });

  test('reads standard input once, as what it looks like', async () => {
    const stdin = Readable.from([gzipSync(lineOf(3))]);
    const [outcome] = await readAll(['-'], { stdin });
    expect(outcome).toMatchObject({ kind: 'read', recording: { files: [{ name: 'standard input' }] } });
    await expect(readAll(['-', '-'])).rejects.toMatchObject({ code: 'usage' });
  });

  test('reads a file as the format that was said, and refuses one of which nothing can be used', async () => {
    const path = file('other.log', 'Dear reader\nof this\n');
    const [outcome] = await readAll([path], { format: 'envoy' });
    expect(outcome).toMatchObject({
      kind: 'failed',
      error: { message: expect.stringContaining('2 read, all left out, the first in line 1: not fake') },
    });
  });

  test('reads inventories first, and attributes addresses with them and with those from before', async () => {
    const log = file('by-address.log', lineOf(1, '10.0.0.7') + lineOf(1, '10.0.0.8'));
    const node = file('node.yaml', 'node n1 10.0.0.7');
    const before: Fact = { fact: 'node', name: 'n2', ips: ['10.0.0.8'] };
    const outcomes = await readAll([log, node], { facts: [before] });
    expect(inShort(outcomes)).toEqual([`read ${node}`, `read ${log}`]);
    expect([...readIn(outcomes[1]).tally.accesses()].map(({ from }) => from.entity)).toEqual([
      'host',
      'host',
    ]);
  });

  test('does not read traffic without an inventory that was named and could not be read', async () => {
    const log = file('traffic.log', lineOf(1));
    const broken = file('broken.yaml', 'broken');
    const outcomes = await readAll([log, broken]);
    expect(inShort(outcomes)).toEqual([
      `failed ${broken}: invalid_recording`,
      `failed ${log}: invalid_recording`,
    ]);
    expect(outcomes[1]).toMatchObject({ error: { message: expect.stringContaining(broken) } });
  });

  test('tells how far it is over all files', async () => {
    const paths = [file('p1.log', lineOf(1)), file('p2.log', lineOf(2))];
    const total = lineOf(1).length * 2;
    const steps: unknown[] = [];
    await readAll(paths, { onProgress: (step) => steps.push(step) });
    expect(steps).toEqual([
      { file: paths[0], done: total / 2, total },
      { file: paths[1], done: total, total },
    ]);
  });
});

describe('files that explain each other', () => {
  const span = (n: number) => file(`span${n}.jsonl`, `{"span":${n}}\n`);
  const lostOf = (outcome: ReadOutcome | undefined) =>
    outcome?.kind === 'read' ? outcome.tally.lost.get('lines') : undefined;

  test('go into one tally, and hand on what the next recording needs', async () => {
    const paths = [span(1), file('between.log', lineOf(1)), span(2)] as const;
    const outcomes = await readAll(paths, { carry: (format) => (format === 'otlp' ? 40 : undefined) });
    expect(inShort(outcomes)).toEqual([`read ${paths[0]} ${paths[2]}`, `read ${paths[1]}`]);
    expect(lostOf(outcomes[0])).toBe(42);
    expect(outcomes[0]).toMatchObject({ carry: 42 });
  });

  test('are read again without the ones that turn out to be known', async () => {
    const paths = [span(1), file('again.jsonl', '{"span":1}\n'), span(2)] as const;
    const outcomes = await readAll(paths);
    expect(inShort(outcomes)).toEqual([`known ${paths[1]}`, `read ${paths[0]} ${paths[2]}`]);
    expect(lostOf(outcomes[1])).toBe(2);
  });

  test('fail together, naming the one that cannot be read', async () => {
    const spans = Array.from({ length: 5000 }, (_, i) => `{"span":${(i * 7919) % 5003}}\n`).join('');
    const bad = file('bad.jsonl.gz', gzipSync(spans).subarray(0, 4000));
    const good = span(1);
    const [outcome] = await readAll([good, bad]);
    expect(outcome).toMatchObject({ kind: 'failed', files: [good, bad], error: { subject: bad } });
  });

  test('leave a known pipe out, but cannot leave a known file out beside a pipe', async () => {
    const content = '{"span":7}\n';
    const path = file('seven.jsonl', content);
    const piped = await readAll(['-', path], { stdin: Readable.from([Buffer.from(content)]) });
    expect(inShort(piped)).toEqual(['known standard input', `read ${path}`]);
    const digest = piped[0]?.kind === 'known' ? piped[0].file.digest : '';
    const [outcome] = await readAll([path, '-'], {
      known: (each) => each === digest,
      stdin: Readable.from([Buffer.from('{"span":8}\n')]),
    });
    expect(outcome).toMatchObject({ kind: 'failed', error: { code: 'usage', subject: path } });
  });

  test('whose reader has a fault end the command: that is not for the user to mend', async () => {
    await expect(readAll([file('fault.jsonl', '{"span":"stop"}\n')])).rejects.toThrow(TypeError);
  });
});
