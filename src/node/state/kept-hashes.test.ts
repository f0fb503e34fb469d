import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExecutableHashes } from '../attestation/executable.ts';
import { KeptHashes } from './kept-hashes.ts';

let dir: string;
let faults: unknown[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-hashes-'));
  faults = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = (boot: string | undefined = 'boot-1') =>
  new KeptHashes(join(dir, 'agent'), (error) => faults.push(error), boot);
const file = () => join(dir, 'agent', 'executables.json');
const hash = 'a'.repeat(64);

/** A /proc of one process whose executable is a small file. */
function proc(content: string): string {
  const root = mkdtempSync(join(dir, 'proc-'));
  writeFileSync(join(root, 'program'), content);
  return root;
}

describe('hashes of executables across restarts', () => {
  test('come back, in a file that only the agent can read', () => {
    open().save(new Map([['1 2 3', hash]]));
    expect(open().load()).toEqual(new Map([['1 2 3', hash]]));
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  test('are forgotten with the next start of the machine', () => {
    open('boot-1').save(new Map([['1 2 3', hash]]));
    expect(open('boot-2').load().size).toBe(0);
  });

  test.each([
    '{',
    'null',
    '{"boot":"boot-1","of":{}}',
    '{"boot":"boot-1","of":[1,["k"],["k",7],["k","xyz"]]}',
  ])('are none where the file holds %s', (text) => {
    open().save(new Map());
    writeFileSync(file(), text);
    expect(open().load().size).toBe(0);
  });

  test('spare the reading of a file that is as it was, and of no other', async () => {
    const root = proc('one');
    mkdirSync(join(root, '7'));
    symlinkSync(join(root, 'program'), join(root, '7', 'exe'));
    const first = await new ExecutableHashes(1000, open()).hash(root, 7, 0);
    // What was kept is believed: with another hash in its place, that one is given.
    const [key = ''] = open().load().keys();
    open().save(new Map([[key, hash]]));
    expect(await new ExecutableHashes(1000, open()).hash(root, 7, 0)).toBe(hash);
    writeFileSync(join(root, 'other'), 'two');
    copyFileSync(join(root, 'other'), join(root, 'program'));
    const changed = await new ExecutableHashes(1000, open()).hash(root, 7, 0);
    expect([hash, first]).not.toContain(changed);
    expect(open().load().size).toBe(2);
  });
});
