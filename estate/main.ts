import { EXIT } from '../src/cli/exit.ts';
import type { Terminal } from '../src/cli/terminal.ts';
import { buildConsole } from './console.ts';
import { type Scene, seconds } from './scene.ts';
import { tellStory } from './story.ts';
import { Estate } from './supervisor.ts';
import { byYourself } from './yourself.ts';
import { Teller } from './teller.ts';

/** How the estate is run. */
export interface EstateOptions {
  /** Tell the story to its end and end; nobody is asked. */
  readonly headless: boolean;
  /** Headless, and one JSON value at the end on standard output; the story goes to standard error. */
  readonly json: boolean;
  /** No story: a person does everything in the console. */
  readonly byHand?: boolean;
}

/** Somebody asked it to end. */
class Interrupted extends Error {}

/** Starts the estate and tells its story; the exit code. It leaves no process and no directory behind, however it ends. */
export async function runEstate(
  terminal: Terminal,
  { headless, json, byHand = false }: EstateOptions,
): Promise<number> {
  const interrupted = whenInterrupted();
  const aside = json ? terminal.aside() : terminal;
  const isWatched = !headless && !json;
  if (isWatched) await consoleIsBuilt(aside, interrupted.signal);
  const startedAt = performance.now();
  const tell = new Teller({ terminal: aside, input: process.stdin, headless: !isWatched, startedAt });
  const estate = await Estate.open();
  let scene: Scene | undefined;
  let failure: Error | undefined;
  try {
    const told = (byHand ? byYourself : tellStory)(tell, estate, interrupted.signal);
    // Whoever loses the race has nobody left to tell.
    told.catch(() => {});
    scene = await Promise.race([told, interrupted.promise, estate.children.died]);
    const figures = { checks: tell.checks, firstAccessMs: scene.firstAccessMs, ms: Math.round(tell.elapsed) };
    aside.line();
    aside.prose(
      `All ${figures.checks.length} checks held. The first access was known after ${seconds(figures.firstAccessMs)}, the story took ${seconds(figures.ms)}.`,
    );
    if (json) terminal.json({ ok: true, ...figures });
    if (isWatched) await stay(scene, aside, Promise.race([interrupted.promise, estate.children.died]));
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
  }
  const code = outcome(terminal, failure, { isToEnd: byHand || scene !== undefined });
  if (code !== EXIT.done.code && json)
    terminal.json({
      ok: false,
      checks: tell.checks,
      failure: failure?.message,
      ms: Math.round(tell.elapsed),
    });
  const stopping = performance.now();
  await estate.stop();
  aside.line(`Ended in ${seconds(performance.now() - stopping)}: no process and no directory is left.`);
  return code;
}

/** Rejects, and aborts, at the first signal that asks it to end, or when whoever started this process is gone. */
function whenInterrupted(): { readonly promise: Promise<never>; readonly signal: AbortSignal } {
  const { promise, reject } = Promise.withResolvers<never>();
  const aborter = new AbortController();
  promise.catch(() => {});
  const interrupt = (why: string) => {
    const error = new Interrupted(why);
    reject(error);
    aborter.abort(error);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupt(signal));
  process.once('disconnect', () => interrupt('whoever started it is gone'));
  return { promise, signal: aborter.signal };
}

async function consoleIsBuilt(terminal: Terminal, signal: AbortSignal): Promise<void> {
  try {
    const ms = await buildConsole(signal, () => terminal.line('Building the console (once) ...'));
    if (ms > 0) terminal.line(`Built in ${seconds(ms)}.`);
  } catch (error) {
    if (signal.aborted) return;
    terminal.prose(
      'The console could not be built; the story goes on, with the console of an earlier build or none:',
    );
    for (const line of (error instanceof Error ? error.message : String(error)).split('\n'))
      terminal.prose(line, 2);
  }
}

/** Stays up until it is told to end. */
async function stay(scene: Scene, terminal: Terminal, end: Promise<never>): Promise<void> {
  const link = await scene.signInLink();
  if (link !== undefined) {
    terminal.line();
    terminal.line('The console, with everything that happened (this link signs one person in, once):');
    terminal.line(`  ${link}`);
  }
  terminal.line();
  terminal.prose('Everything goes on until you press Ctrl-C. Logs of all processes:');
  terminal.line(`  ${scene.estate.place.dir}/logs`);
  await end;
}

/** Says how it ended. Whoever ends it after the story has seen everything. */
function outcome(
  terminal: Terminal,
  failure: Error | undefined,
  { isToEnd }: { readonly isToEnd: boolean },
): number {
  if (failure === undefined) return EXIT.done.code;
  if (failure instanceof Interrupted && isToEnd) {
    terminal.line();
    return EXIT.done.code;
  }
  const text =
    failure instanceof Interrupted
      ? `stopped before the end of the story (${failure.message})`
      : failure.message;
  for (const line of text.split('\n')) terminal.complain(line);
  return EXIT.failed.code;
}
