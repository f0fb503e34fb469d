import { pino } from 'pino';
import { isInterlockError } from '../access/index.ts';
import { printable, type Terminal } from './terminal.ts';

/** What long-running commands write about what happens: a sentence, and the fields that it is about. */
export interface Log {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** Log lines on standard error: JSON for machines, and for a terminal one line each with the fields behind it. */
export function openLog(terminal: Terminal, now: () => number): Log {
  if (terminal.err.isTTY === true) return lineLog(terminal, now);
  return pino(
    {
      base: null,
      timestamp: () => `,"time":"${new Date(now()).toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
      serializers: { error: errorFields },
    },
    // Written at once: the last lines before an end are the ones that matter.
    { write: (line) => void terminal.err.write(line) },
  );
}

function lineLog(terminal: Terminal, now: () => number): Log {
  const write = (mark: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    const time = new Date(now()).toISOString().slice(11, 19);
    const rest = Object.entries(fields).flatMap(([key, value]) => {
      if (value === undefined) return [];
      const shown = value instanceof Error ? errorFields(value) : value;
      return [`${key}=${typeof shown === 'string' ? shown : JSON.stringify(shown, bigints)}`];
    });
    const line = [time, mark, message, ...rest].filter((part) => part !== '').join('  ');
    terminal.err.write(`${printable(line)}\n`);
  };
  return { info: write(''), warn: write('warning:'), error: write('error:') };
}

function bigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

/** An error as fields: what we raised on purpose by its code, without stack; all else with it. Never a cause's data. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { cause: inner } = error;
  // Of gRPC the cause is the same text with a number before it.
  const isNews = inner instanceof Error && !inner.message.includes(error.message);
  const cause = isNews ? { cause: inner.message } : {};
  if (isInterlockError(error)) {
    return { code: error.code, subject: error.subject, message: error.message, ...cause };
  }
  return { message: error.message, stack: error.stack, ...cause };
}
