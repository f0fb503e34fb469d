import { constants } from 'node:os';
import { InterlockError } from '../../access/index.ts';
import { interlockErrorOf } from '../api-error.ts';
import type { Clock } from '../clock.ts';
import { type CommandReport, faultText, RenewalCommand, SignalledProgram } from './command.ts';
import type { HelperConfig } from './config.ts';
import { readPidFile, signalProcess } from './signal.ts';

/** What happens after a set of files was written. */
export interface Hooks {
  /** Resolves when it is done, with an exit code. Never rejects: what went wrong is told to `onError`. */
  renewed(): Promise<number>;
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
  if (command === undefined) return { renewed: async () => 0, close: async () => {} };
  if (signal !== undefined) {
    const program = new SignalledProgram({ argv: command, shell, signal, clock, onReport: listener.onNote });
    const renewed = async () => {
      program.renewed();
      return 0;
    };
    return { renewed, close: () => program.close() };
  }
  const onReport = (report: CommandReport) => {
    const said = reportText(command, report);
    if (exitCodeOf(report) === 0) listener.onNote(said);
    else listener.onError(new InterlockError('io', command[0] ?? '', said));
  };
  const timeoutMs = config.commandTimeout * 1000;
  const run = new RenewalCommand({ argv: command, shell, timeoutMs, clock, onReport });
  const renewed = async () => {
    const report = await run.run();
    return report === undefined ? 0 : exitCodeOf(report);
  };
  return { renewed, close: () => run.close() };
}

function signalHooks(config: HelperConfig, signal: NodeJS.Signals, listener: HookListener): Hooks {
  return {
    async renewed() {
      try {
        const pid = config.pid ?? (await readPidFile(config.pidFile ?? ''));
        signalProcess(pid, signal);
        listener.onNote(`sent ${signal} to process ${pid}`);
        return 0;
      } catch (error) {
        listener.onError(interlockErrorOf('signal', error));
        return 1;
      }
    },
    close: async () => {},
  };
}

/** How a run ended as one exit code: the command's own; else as shells and timeout(1) have it. */
export function exitCodeOf({ ended, timedOut, fault }: CommandReport): number {
  if (timedOut) return 124;
  if (ended === 'not started') return fault?.code === 'ENOENT' ? 127 : 126;
  return typeof ended === 'number' ? ended : 128 + constants.signals[ended];
}

/** One line about a run: how it ended, how long it took, how much it printed and how that begins. */
export function reportText(argv: readonly string[], report: CommandReport): string {
  const { ended, timedOut, outputBytes, output, ms, fault } = report;
  if (ended === 'not started') {
    return `${argv[0] ?? ''} could not be started${fault === undefined ? '' : `: ${faultText(fault)}`}`;
  }
  const how = typeof ended === 'number' ? `ended with ${ended}` : `was ended by ${ended}`;
  const [first = ''] = output.split('\n');
  const said = outputBytes === 0 ? '' : `, printed ${outputBytes} bytes: ${first.slice(0, 200)}`;
  return `${argv[0] ?? ''} ${how}${timedOut ? ' (out of time)' : ''} after ${ms} ms${said}`;
}
