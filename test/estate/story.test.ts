import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const START = fileURLToPath(new URL('../../scripts/start.ts', import.meta.url));

const isLinux = process.platform === 'linux';
if (!isLinux) console.log('Left out: the sample estate, which needs Linux.');

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
}

/** One run of `npm start`. */
class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  readonly #said: string[] = [];
  #news = Promise.withResolvers<void>();

  constructor(...args: readonly string[]) {
    this.child = spawn(process.execPath, [START, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      if (stream !== null)
        createInterface(stream).on('line', (line) => {
          this.#said.push(line);
          this.#told();
        });
    this.ended = once(this.child, 'close').then(([code, signal]: unknown[]) => code ?? signal);
    void this.ended.then(() => this.#told());
    runs.push(this);
  }

  get said(): string {
    return this.#said.join('\n');
  }

  /** What it has printed as JSON. */
  get json(): { readonly ok: boolean; readonly checks: readonly Check[] } {
    return JSON.parse(this.#said.findLast((line) => line.startsWith('{"ok"')) ?? '{}');
  }

  /** The directory of this estate: it stands in every command that the story names. */
  get dir(): string {
    const [, dir = ''] = /--state (\S+)\/state\b/.exec(this.said) ?? [];
    if (dir === '') throw new Error(`it has named no directory:\n${this.said}`);
    return dir.startsWith('/') ? dir : `${ROOT}${dir}`;
  }

  /** Waits until it has printed this. Throws where it ends before. */
  async until(text: string): Promise<void> {
    while (!this.said.includes(text)) {
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`it has ended before "${text}":\n${this.said}`);
      await this.#news.promise;
    }
  }

  #told(): void {
    const { resolve } = this.#news;
    this.#news = Promise.withResolvers();
    resolve();
  }
}

const runs: Run[] = [];

/** Processes that run an executable of this estate, by what they are. */
function processesOf(dir: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      if (!readlinkSync(`/proc/${name}/exe`).startsWith(`${dir}/bin/`)) continue;
      found.set(Number(name), readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' '));
    } catch {
      // It has ended.
    }
  }
  return found;
}

/** Waits until neither a process nor the directory of an estate is left. */
async function isGone(dir: string): Promise<void> {
  for (let look = 0; look < 1000 && (existsSync(dir) || processesOf(dir).size > 0); look++) await pause(20);
  expect([...processesOf(dir).values()]).toEqual([]);
  expect(existsSync(dir)).toBe(false);
}

afterEach(async () => {
  for (const run of runs.splice(0)) {
    run.child.kill('SIGKILL');
    await run.ended;
  }
});

describe.skipIf(!isLinux)('npm start', () => {
  test('tells the whole story, two at once, each step verified, and leaves nothing behind', async () => {
    const both = [new Run('--json'), new Run('--json')];
    await Promise.all(both.map((run) => run.until('$ npx interlock proxies')));
    const [one, other] = both.map(({ dir }) => dir);
    expect(one).not.toBe(other);
    for (const run of both) {
      // What it said is the reason.
      expect((await run.ended) === 0 ? '' : run.said).toBe('');
      const { ok, checks } = run.json;
      expect(ok).toBe(true);
      expect(checks.filter((check) => !check.ok)).toEqual([]);
      expect(checks.map(({ name }) => name)).toEqual(
        expect.arrayContaining([
          'every call that the programs are made to make is learned',
          'every connection is mutual TLS',
          'nothing recorded would be denied',
          'no live request would be denied',
          'a canary of one of two proxies widens by itself until it is enforced',
          'every service is enforced',
          'a process that nobody vouches for gets no identity',
          'a valid identity of the wrong service is denied',
          'its denial is recorded, with its identity',
          'plain text gets no answer',
          'what was denied passes',
          'armed, it is denied again',
          'the audit log is whole',
        ]),
      );
      expect(checks.at(-1)).toMatchObject({ name: 'no legitimate request has failed', ok: true });
      await isGone(run.dir);
    }
  });

  test('says which process has ended, with its last lines, and ends with an error', async () => {
    const run = new Run('--headless');
    await run.until('$ npx interlock proxies');
    const [payment] =
      [...processesOf(run.dir)].find(([, line]) => line.includes('programs/payment.ts')) ?? [];
    process.kill(payment ?? 0, 'SIGKILL');
    expect(await run.ended).toBe(1);
    expect(run.said).toMatch(/the process "payment" has ended \(SIGKILL\)/);
    expect(run.said).toContain('"event":"ready"');
    await isGone(run.dir);
  });

  test.each(['SIGINT', 'SIGKILL'] as const)('ends everything at %s', async (signal) => {
    const run = new Run('--headless');
    await run.until('$ npx interlock proxies');
    expect(processesOf(run.dir).size).toBeGreaterThan(20);
    run.child.kill(signal);
    expect(await run.ended).toBe(signal === 'SIGKILL' ? signal : 1);
    await isGone(run.dir);
  });

  test('ends everything while it still starts', async () => {
    const run = new Run('--headless');
    await run.until('Start');
    run.child.kill('SIGINT');
    expect(await run.ended).toBe(1);
    expect(run.said).toContain('stopped before the end of the story');
    expect(existsSync(`${ROOT}estate/.run`) ? [...estatesOf(run)] : []).toEqual([]);
  });
});

/** Directories whose keeper is a child of this run: none, once it has ended. */
function estatesOf({ child }: Run): string[] {
  return readdirSync(`${ROOT}estate/.run`).filter((name) => name.startsWith(`${child.pid}-`));
}
