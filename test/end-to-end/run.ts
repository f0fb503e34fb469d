import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { main } from '../../src/cli/cli.ts';
import { Terminal } from '../../src/cli/terminal.ts';

/** What one run of the command line printed, and its exit code. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The time at which the tests run: after every recording that they read. */
export const NOW = Date.UTC(2026, 10, 21);

function sink(): { stream: Writable; text: () => string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  return { stream, text: () => chunks.join('') };
}

/** Runs the command line in this process. */
export async function interlock(...argv: string[]): Promise<Ran> {
  const out = sink();
  const err = sink();
  const code = await main(argv, { terminal: new Terminal(out.stream, err.stream, {}), now: () => NOW });
  return { code, out: out.text(), err: err.text() };
}

/** The same, with `--json`, read back: one value, or one a line. Throws what was printed if it failed. */
export async function json<T>(...argv: string[]): Promise<T[]> {
  const { code, out, err } = await interlock(...argv, '--json');
  if (code !== 0 && code !== 3) throw new Error(`exit ${code}: ${err}`);
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

/** A directory that is removed when the file's tests are done. */
export function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-test-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Recorded traffic that lies beside the project, or undefined (and a sentence that says so) where it does not. */
export function sharedData(path: string): string | undefined {
  const file = fileURLToPath(new URL(`../../../shared/data/${path}`, import.meta.url));
  if (existsSync(file)) return file;
  console.log(`Left out: tests on ../shared/data/${path}, which is not on this machine.`);
  return undefined;
}
