import type { InterlockError } from '../../access/index.ts';
import { interlockErrorOf } from '../api-error.ts';
import type { Clock } from '../clock.ts';
import { type CommandReport, RenewalCommand, SignalledProgram } from './command.ts';
import type { HelperConfig } from './config.ts';
import { readPidFile, signalProcess } from './signal.ts';

/** What happens after a set of files was written. */
export interface Hooks {
  /** Resolves when it is done. Never rejects: what went wrong is told to `onError`. */
  renewed(): Promise<void>;
  close(): Promise<void>;
}

/** Who hears of what hooks do. */
export interface HookListener {
  readonly onNote: (text: string) => void;
  readonly onError: (error: InterlockError) => void;
}

/** The hooks of a configuration: none, a command at each renewal, a program that is signalled, or a process that is. */
export function hooksOf(config: HelperConfig, clock: Clock, listener: HookListener): Hooks {
  const { command, signal, shell } = config;
  if (signal !== undefined && command === undefined) return signalHooks(config, signal, listener);
  if (command === undefined) return { renewed: async () => {}, close: async () => {} };
  if (signal !== undefined) {
    const program = new SignalledProgram({ argv: command, shell, signal, clock, onReport: listener.onNote });
    return { renewed: async () => program.renewed(), close: () => program.close() };
  }
  const onReport = (report: CommandReport) => listener.onNote(reportText(command, report));
  const timeoutMs = config.commandTimeout * 1000;
  const run = new RenewalCommand({ argv: command, shell, timeoutMs, clock, onReport });
  return { renewed: () => run.run(), close: () => run.close() };
}

function signalHooks(config: HelperConfig, signal: NodeJS.Signals, listener: HookListener): Hooks {
  return {
    async renewed() {
      try {
        const pid = config.pid ?? (await readPidFile(config.pidFile ?? ''));
        signalProcess(pid, signal);
        listener.onNote(`sent ${signal} to process ${pid}`);
      } catch (error) {
        listener.onError(interlockErrorOf('signal', error));
      }
    },
    close: async () => {},
  };
}

/** One line about a run: how it ended, how long it took, how much it printed and how that begins. */
export function reportText(argv: readonly string[], report: CommandReport): string {
  const { ended, timedOut, outputBytes, output, ms } = report;
  const how =
    ended === 'not started'
      ? 'could not be started'
      : typeof ended === 'number'
        ? `ended with ${ended}`
        : `was ended by ${ended}`;
  const [first = ''] = output.split('\n');
  const said = outputBytes === 0 ? '' : `, printed ${outputBytes} bytes: ${first.slice(0, 200)}`;
  return `${argv[0] ?? ''} ${how}${timedOut ? ' (out of time)' : ''} after ${ms} ms${said}`;
}
