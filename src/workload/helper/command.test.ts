import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestClock } from '../testing.ts';
import { type CommandReport, RenewalCommand, SignalledProgram } from './command.ts';
import { exitCodeOf, reportText } from './hooks.ts';
import { readPidFile, signalProcess } from './signal.ts';

let dir: string;
let clock: TestClock;
let reports: CommandReport[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'command-'));
  clock = new TestClock();
  reports = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

function command(argv: string[], options: { shell?: boolean; timeoutMs?: number } = {}): RenewalCommand {
  const onReport = (report: CommandReport) => reports.push(report);
  return new RenewalCommand({ argv, shell: false, timeoutMs: 1_000, clock, onReport, ...options });
}

const node = (script: string, ...args: string[]) => [process.execPath, '-e', script, ...args];

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}

describe('the command after a renewal', () => {
  it('gets its words as they are: no shell sees them', async () => {
    await command(node('console.log(process.argv[1])', '$(echo shell); `x`')).run();
    expect(reports).toEqual([
      expect.objectContaining({ ended: 0, timedOut: false, output: '$(echo shell); `x`', outputBytes: 19 }),
    ]);
  });

  it('goes to a shell only where told', async () => {
    await command(['echo', '$((1+1))'], { shell: true }).run();
    expect(reports[0]?.output).toBe('2');
  });

  it('tells of failures and of what cannot be started', async () => {
    await command(node('process.exit(7)')).run();
    await command([join(dir, 'nothing')]).run();
    expect(reports.map(({ ended }) => ended)).toEqual([7, 'not started']);
    const [failed, missing] = reports as [CommandReport, CommandReport];
    expect(reportText(['reload'], failed)).toBe('reload ended with 7 after 0 ms');
    expect(reportText(['reload'], missing)).toBe('reload could not be started: there is no such program');
  });

  it('ends with an exit code that shells know', async () => {
    await command(node('process.exit(7)')).run();
    await command(node('process.kill(process.pid, "SIGKILL")')).run();
    await command([join(dir, 'nothing')]).run();
    writeFileSync(join(dir, 'plain'), '', { mode: 0o644 });
    await command([join(dir, 'plain')]).run();
    await command(node('')).run();
    expect(reports.map(exitCodeOf)).toEqual([7, 137, 127, 126, 0]);
    const late = { ended: 'SIGTERM', timedOut: true, outputBytes: 0, output: '', ms: 1 } as const;
    expect(exitCodeOf(late)).toBe(124);
  });

  it('has all its output counted and little of it kept', async () => {
    await command(node('process.stdout.write("x".repeat(1e6)); process.stderr.write("y".repeat(1e6))')).run();
    expect(reports[0]?.outputBytes).toBe(2_000_000);
    expect(reports[0]?.output).toHaveLength(4_096);
  });

  it('never runs twice at once: renewals meanwhile make one run more', async () => {
    const log = join(dir, 'log');
    const script = `
      const fs = require('fs');
      fs.appendFileSync(process.argv[1], 'start\\n');
      const wait = () => fs.existsSync(process.argv[2]) ? fs.appendFileSync(process.argv[1], 'end\\n') : setImmediate(wait);
      wait();`;
    const reload = command(node(script, log, join(dir, 'go')));
    const first = reload.run();
    await until(() => existsSync(log));
    const others = [reload.run(), reload.run(), reload.run()];
    writeFileSync(join(dir, 'go'), '');
    await Promise.all([first, ...others]);
    expect(readFileSync(log, 'utf8')).toBe('start\nend\nstart\nend\n');
    expect(reports).toHaveLength(2);
  });

  it('is ended after its time, with all that it started, even where it ignores the polite signal', async () => {
    // What the command started says its own number, once it does not mind the polite signal any more.
    const started = `
      process.on("SIGTERM", () => {});
      require("fs").writeFileSync(process.argv[1], String(process.pid));
      setInterval(() => {}, 1e6);`;
    const script = `
      process.on('SIGTERM', () => {});
      require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(started)}, process.argv[1]], { stdio: 'inherit' });
      setInterval(() => {}, 1e6);`;
    const pidFile = join(dir, 'pid');
    const done = command(node(script, pidFile)).run();
    await until(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
    const pid = Number(readFileSync(pidFile, 'utf8'));
    clock.advance(1_000);
    expect(() => process.kill(pid, 0)).not.toThrow();
    clock.advance(5_000);
    await done;
    expect(reports[0]).toMatchObject({ ended: 'SIGKILL', timedOut: true });
    await until(() => isGone(pid));
  });

  it('is done when it has ended, though a server that it started holds its output open', async () => {
    const script = `
      const child = require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'inherit', detached: true });
      require('fs').writeFileSync(process.argv[1], String(child.pid));
      process.exit(0);`;
    const pidFile = join(dir, 'pid');
    const done = command(node(script, pidFile), { timeoutMs: 60_000 }).run();
    await until(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '');
    const pid = Number(readFileSync(pidFile, 'utf8'));
    // The command's own time has 60 s to go; a nearer timer is the wait for the last of its output.
    await until(() => clock.next === 1_000);
    clock.advance(1_000);
    await done;
    expect(reports[0]).toMatchObject({ ended: 0, timedOut: false });
    expect(() => process.kill(pid, 'SIGKILL')).not.toThrow();
  });

  it('does not run once the helper has closed', async () => {
    const reload = command(node(''));
    await reload.close();
    await reload.run();
    expect(reports).toEqual([]);
  });

  it('is ended when the helper closes', async () => {
    const reload = command(node('setInterval(() => {}, 1e6)'));
    const done = reload.run();
    await reload.close();
    await done;
    expect(reports[0]).toMatchObject({ ended: 'SIGTERM', timedOut: false });
  });
});

describe('a program that is told of renewals by a signal', () => {
  it('is started once, signalled after, and started again when it has ended', async () => {
    const notes: string[] = [];
    const log = join(dir, 'log');
    const script = `
      const fs = require('fs');
      process.on('SIGUSR2', () => { fs.appendFileSync(process.argv[1], 'reload\\n'); if (fs.readFileSync(process.argv[1], 'utf8').includes('reload\\nreload')) process.exit(3); });
      setInterval(() => {}, 1e6);
      fs.appendFileSync(process.argv[1], 'start\\n');`;
    const program = new SignalledProgram({
      argv: node(script, log),
      shell: false,
      signal: 'SIGUSR2',
      clock,
      onReport: (t) => notes.push(t),
    });
    const lines = () => (existsSync(log) ? readFileSync(log, 'utf8') : '');
    program.renewed();
    await until(() => lines() === 'start\n');
    program.renewed();
    await until(() => lines() === 'start\nreload\n');
    program.renewed();
    await until(() => notes.some((note) => note.includes('ended: 3')));
    program.renewed();
    await until(() => lines().endsWith('reload\nstart\n'));
    await program.close();
    expect(notes.at(-1)).toContain('ended: SIGTERM');
  });
});

describe('a process named by a pid file', () => {
  it('is signalled', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)']);
    writeFileSync(join(dir, 'pid'), `${child.pid}\n`);
    const ended = new Promise((resolve) => child.once('close', (_code, signal) => resolve(signal)));
    signalProcess(await readPidFile(join(dir, 'pid')), 'SIGTERM');
    expect(await ended).toBe('SIGTERM');
  });

  it.each(['', '0', '1', '-5', '12 34', 'abc', '1e3', '9'.repeat(100)])(
    'is not taken from %j',
    async (text) => {
      writeFileSync(join(dir, 'pid'), text);
      await expect(readPidFile(join(dir, 'pid'))).rejects.toMatchObject({ code: 'invalid_document' });
    },
  );

  it('that is not there is said so', async () => {
    await expect(readPidFile(join(dir, 'none'))).rejects.toMatchObject({ code: 'not_found' });
    expect(() => signalProcess(2 ** 22 + 1, 'SIGTERM')).toThrow('no process');
  });
});

/** A killed process whose parent went first stays in the table until someone reaps it. */
function isGone(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}
